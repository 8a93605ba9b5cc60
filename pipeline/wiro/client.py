"""The client of Wiro: a method for each endpoint, typed results, an exception class for each refusal."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pipeline.settings import Settings
from pipeline.wiro import progress_stream, responses
from pipeline.wiro.errors import NoResponse, NotAuthorized, NotFound, ResponseLost, TaskNotFound, WiroError
from pipeline.wiro.model_schema import ImageField, ModelSchema, parse_model_schema
from pipeline.wiro.multipart import Body, FileSource, form_body, json_body
from pipeline.wiro.progress_message import ProgressMessage
from pipeline.wiro.refusals import is_refusal, refusal
from pipeline.wiro.responses import ModelName, Run
from pipeline.wiro.run_body import RunImage, run_body
from pipeline.wiro.tasks import Task, TaskOutput, parse_task, parse_tasks
from pipeline.wiro.transport import Response, Transport

__all__ = [
    "FileSource",
    "ImageField",
    "ModelName",
    "ModelSchema",
    "ProgressMessage",
    "Run",
    "RunImage",
    "Task",
    "TaskOutput",
    "Wiro",
]

RUN_READ_S = 60.0
READ_S = 20.0
_MIN_SECRET_CHARS = 6
_NONCE_BITS = 63
_NO_TASK_YET = re.compile(r"^there is no task yet", re.I)


class Wiro:
    """A client of one project at the vendor. Thread-safe; connections are reused.

    With a secret, requests are signed. Without one, only the key is sent. All methods raise WiroError, and its
    subclass NotSent if the request did not reach the vendor. `read_s` and `run_read_s` are response timeouts.
    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        api_secret: str = "",
        *,
        socket_url: str = "",
        run_read_s: float = RUN_READ_S,
        read_s: float = READ_S,
    ) -> None:
        self._transport = Transport(api_url)
        self._key = api_key.strip()
        self._secret = api_secret.strip()
        self._socket_url = socket_url
        self._run_read_s = run_read_s
        self._read_s = read_s
        self._mac = hmac.new(self._key.encode(), self._secret.encode(), hashlib.sha256)

    @classmethod
    def from_settings(cls, settings: Settings, *, read_s: float = READ_S) -> Wiro:
        """Return a client with the keys and URLs of `settings`. `read_s` is its response timeout."""
        secret = settings.wiro_api_secret
        return cls(
            settings.wiro_api_url,
            settings.wiro_api_key.get_secret_value(),
            secret.get_secret_value() if secret else "",
            socket_url=settings.wiro_socket_url,
            read_s=read_s,
        )

    def run(
        self,
        model: str,
        params: Mapping[str, Any],
        *,
        image: RunImage | None = None,
        callback_url: str | None = None,
    ) -> Run:
        """Post a run of `model` ("owner/name").

        Raises ResponseLost if the vendor may have accepted the run: it must not be posted again. Any other exception
        means that it was not accepted; StorageError: the file could not be read.
        """
        fields = {**params, "callbackUrl": callback_url} if callback_url else dict(params)
        path, body = f"/Run/{quote(model)}", run_body(fields, image)
        try:
            response = self._post(path, body, self._run_read_s)
        except NoResponse as error:
            raise ResponseLost(str(error)) from None
        try:
            return self._accepted_run(response)
        except NoResponse as error:
            raise ResponseLost(str(error)) from None
        except WiroError:
            raise
        except Exception as error:
            raise ResponseLost(f"The vendor's response cannot be read: {type(error).__name__}.") from error

    def task(self, *, token: str = "", task_id: str = "") -> Task:
        """Return the current task, by its token or else by its id. Raises TaskNotFound."""
        if not token and not task_id:
            raise TaskNotFound
        fields = {"tasktoken": token} if token else {"taskid": task_id}
        try:
            document = self._call("/Task/Detail", json_body(fields))
        except NotFound as error:
            raise TaskNotFound(str(error)) from None
        return parse_task(document, token=token, task_id="" if token else task_id)

    def list_tasks(self, *, start: int = 0, limit: int = 100) -> list[Task]:
        """Return the tasks of the project's account, newest first: one for each row, see `parse_tasks`."""
        page = {"type": "model", "sort": "id", "order": "DESC", "start": str(start), "limit": str(limit)}
        try:
            return parse_tasks(self._call("/Task/List", json_body(page)))
        except NotFound as error:
            # Any other refusal is no proof that there is no task.
            if not _NO_TASK_YET.search(str(error)):
                raise
            return []

    def cancel(self, task_id: str, token: str) -> None:
        """Remove a task from the vendor's queue. Raises NotFound if it is not in the queue."""
        self._call("/Task/Cancel", json_body(_task_fields(task_id, token)))

    def kill(self, task_id: str, token: str) -> None:
        """Stop a running task. Raises NotFound if it does not run."""
        self._call("/Task/Kill", json_body(_task_fields(task_id, token)))

    def delete_files(self, token: str) -> None:
        """Delete the inputs and outputs of an ended task. May be repeated."""
        self._call("/Task/InputOutputDelete", json_body({"tasktoken": token}))

    def accepts_reused_nonce(self, token: str) -> bool:
        """Return whether the vendor accepts a second request with the same nonce: Task/Detail of a task, twice.

        Raises WiroError if the first request is refused, or the second one for another reason.
        """
        signature = self._signature()
        body = json_body({"tasktoken": token})
        self._call("/Task/Detail", body, signature=signature)
        try:
            self._call("/Task/Detail", body, signature=signature)
        except NotAuthorized:
            return False
        return True

    def create_folder(self, name: str) -> str:
        """Create a folder and return its id. `name`: letters, digits, '-' and '_'."""
        return responses.parse_folder(self._call("/File/FolderCreate", json_body({"name": name})))

    def upload(self, file: FileSource, folder: str = "") -> str:
        """Upload a file of at most 100 MB and return its URL, which can be the input of a run."""
        body = form_body({"folderid": folder} if folder else {}, "file", file)
        return responses.parse_file_url(self._call("/File/Upload", body, self._run_read_s))

    def tool_detail(self, model: str) -> dict[str, Any]:
        """Return the vendor's description of a model ("owner/name") as plain JSON. Raises NotFound."""
        owner, _, name = model.partition("/")
        document = self._call("/Tool/Detail", json_body({"slugowner": owner, "slugproject": name}))
        return responses.parse_tool(document, model)

    def model_schema(self, model: str) -> ModelSchema:
        """Return parameters and prices of a model ("owner/name"). Raises NotFound."""
        return parse_model_schema(self.tool_detail(model), model)

    def list_models(self, text: str, *, limit: int) -> list[ModelName]:
        """Return models whose names have a text, in the vendor's order. Rows that name no model are skipped.

        The API doc names the endpoint, not its fields: they are those that the vendor's own clients send.
        """
        fields = {"search": text, "start": "0", "limit": str(limit)}
        try:
            return responses.parse_models(self._call("/Tool/List", json_body(fields)))
        except NotFound:
            return []

    def progress(self, token: str, *, silence_s: float = progress_stream.SILENCE_S) -> Iterator[ProgressMessage]:
        """Yield the messages of a task from now until it ends. An ended task may have none: check `task` first.

        Raises NoResponse if the connection breaks, or if no message comes for `silence_s` seconds.
        """
        return progress_stream.messages(self._socket_url, token, silence_s=silence_s)

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def _accepted_run(self, response: Response) -> Run:
        document = responses.parse_document(response.body)
        if document is not None and not is_refusal(document) and (run := responses.parse_run(document)):
            # With any status: a run that has a task was accepted.
            return run
        raise self._refusal(response, document) or NoResponse("The vendor's response names no task.")

    def _call(
        self, path: str, body: Body, read_s: float | None = None, *, signature: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        response = self._post(path, body, read_s or self._read_s, signature)
        document = responses.parse_document(response.body)
        if error := self._refusal(response, document):
            raise error
        return document or {}

    def _post(self, path: str, body: Body, read_s: float, signature: Mapping[str, str] | None = None) -> Response:
        if not self._key:
            raise NotAuthorized("The key for the vendor is missing. Set WIRO_API_KEY.")
        if not (self._key.isascii() and self._key.isprintable()):
            raise NotAuthorized("WIRO_API_KEY contains a line end, or a character that is not ASCII. Correct it.")
        headers = {
            **(signature or self._signature()),
            "Content-Type": body.content_type,
            "Content-Length": str(body.length),
        }
        with body.opened() as data:
            return self._transport.post(path, data, headers, read_s=read_s)

    def _signature(self) -> dict[str, str]:
        if not self._secret:
            return {"x-api-key": self._key}
        # Random, because a clock or a counter could repeat a nonce in another thread, process or host.
        nonce = str(secrets.randbits(_NONCE_BITS))
        mac = self._mac.copy()
        mac.update(nonce.encode())
        return {"x-api-key": self._key, "x-nonce": nonce, "x-signature": mac.hexdigest()}

    def _refusal(self, response: Response, document: Mapping[str, Any] | None) -> WiroError | None:
        error = refusal(response.status, response.headers, document, datetime.now(UTC))
        if error is not None:
            # The vendor may quote a secret in its message, which is logged.
            text = str(error)
            for secret in (self._key, self._secret):
                text = text.replace(secret, "***") if len(secret) >= _MIN_SECRET_CHARS else text
            error.args = (text,)
        return error


def _task_fields(task_id: str, token: str) -> dict[str, str]:
    # The vendor's documents disagree on which of them identifies the task, so all are sent.
    fields = {"taskid": task_id, "socketaccesstoken": token, "tasktoken": token}
    return {name: value for name, value in fields.items() if value}
