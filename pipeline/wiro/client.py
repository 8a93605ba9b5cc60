"""The only module that speaks to Wiro: every endpoint as a method, typed answers, one error class a refusal."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pipeline.settings import Settings
from pipeline.wiro import progress_stream, responses
from pipeline.wiro.errors import (
    AnswerLost,
    NoAnswer,
    NotAuthorized,
    NotFound,
    TaskNotFound,
    WiroError,
    is_refusal,
    refusal,
)
from pipeline.wiro.multipart import Body, FileSource, form_body, json_body
from pipeline.wiro.responses import ProgressMessage, Run, Task, TaskOutput, Tool
from pipeline.wiro.transport import Answer, Http

__all__ = ["FileSource", "ProgressMessage", "Run", "Task", "TaskOutput", "Tool", "Wiro"]

RUN_READ_S = 60.0
READ_S = 20.0
_MIN_SECRET = 6


class Wiro:
    """One project at the vendor. Thread-safe; connections are reused.

    With a secret requests are signed, without one the key alone is sent. Every method raises WiroError; NotSent when
    the request did not reach the vendor.
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
        self._http = Http(api_url)
        self._key = api_key.strip()
        self._secret = api_secret.strip()
        self._socket_url = socket_url
        self._run_read_s = run_read_s
        self._read_s = read_s
        self._mac = hmac.new(self._key.encode(), self._secret.encode(), hashlib.sha256)

    @classmethod
    def from_settings(cls, settings: Settings) -> Wiro:
        """The project that the settings name."""
        secret = settings.wiro_api_secret
        return cls(
            settings.wiro_api_url,
            settings.wiro_api_key.get_secret_value(),
            secret.get_secret_value() if secret else "",
            socket_url=settings.wiro_socket_url,
        )

    def run(
        self,
        model: str,
        params: Mapping[str, Any],
        *,
        image_field: str | None = None,
        image_url: str | None = None,
        image_file: FileSource | None = None,
        callback_url: str | None = None,
    ) -> Run:
        """Post a run of `model` ("owner/name"). With an `image_field` the image goes as a file or by its URL.

        Raises AnswerLost when the vendor may have taken the run: it must not be posted again. Every other error says
        that it was not taken; StorageError that the file could not be read.
        """
        fields = {**params, "callbackUrl": callback_url} if callback_url else dict(params)
        body = json_body(fields) if image_field is None else _image_form(fields, image_field, image_url, image_file)
        try:
            return self._taken(self._post(f"/Run/{quote(model)}", body, self._run_read_s))
        except NoAnswer as error:
            raise AnswerLost(str(error)) from None

    def task(self, *, token: str = "", task_id: str = "") -> Task:
        """A task as it is now, by its token or else its id. Raises TaskNotFound."""
        if not token and not task_id:
            raise TaskNotFound
        asked = {"tasktoken": token} if token else {"taskid": task_id}
        try:
            document = self._call("/Task/Detail", json_body(asked))
        except NotFound as error:
            raise TaskNotFound(str(error)) from None
        return responses.read_task(document, token=token, task_id="" if token else task_id)

    def cancel(self, task_id: str, token: str) -> None:
        """Take a task out of the queue. Raises NotFound when it is not in it (any more)."""
        self._call("/Task/Cancel", json_body(_both(task_id, token)))

    def kill(self, task_id: str, token: str) -> None:
        """Stop a task that runs. Raises NotFound when it does not."""
        self._call("/Task/Kill", json_body(_both(task_id, token)))

    def delete_files(self, token: str) -> None:
        """Delete inputs and outputs of a task that has ended; again is no error."""
        self._call("/Task/InputOutputDelete", json_body({"tasktoken": token}))

    def create_folder(self, name: str) -> str:
        """Make a folder; its id. `name`: letters, digits, '-' and '_'."""
        return responses.read_folder(self._call("/File/FolderCreate", json_body({"name": name})))

    def upload(self, file: FileSource, folder: str = "") -> str:
        """Store a file of at most 100 MB; its URL, which can be a run's input."""
        body = form_body({"folderid": folder} if folder else {}, "file", file)
        return responses.read_file_url(self._call("/File/Upload", body, self._run_read_s))

    def tool(self, model: str) -> Tool:
        """What the vendor says of a model ("owner/name"): its price, its parameters. Raises NotFound."""
        owner, _, name = model.partition("/")
        document = self._call("/Tool/Detail", json_body({"slugowner": owner, "slugproject": name}))
        return responses.read_tool(document, model)

    def progress(self, token: str, *, silence_s: float = progress_stream.SILENCE_S) -> Iterator[ProgressMessage]:
        """What a task says from now until it ends. One that has ended already may say nothing: ask `task` first.

        Raises NoAnswer when the messages break off, also when none comes for `silence_s`.
        """
        return progress_stream.messages(self._socket_url, token, silence_s=silence_s)

    def close(self) -> None:
        """Give up the idle connections."""
        self._http.close()

    def _taken(self, answer: Answer) -> Run:
        document = responses.read_document(answer.body)
        if document is not None and not is_refusal(document) and (run := responses.read_run(document)):
            # Whatever the status: a run that has a task was taken.
            return run
        raise self._refusal(answer, document) or NoAnswer("The vendor's answer names no task.")

    def _call(self, path: str, body: Body, read_s: float | None = None) -> Mapping[str, Any]:
        answer = self._post(path, body, read_s or self._read_s)
        document = responses.read_document(answer.body)
        if error := self._refusal(answer, document):
            raise error
        return document or {}

    def _post(self, path: str, body: Body, read_s: float) -> Answer:
        if not self._key:
            raise NotAuthorized("There is no key for the vendor: set WIRO_API_KEY.")
        if not self._key.isascii():
            raise NotAuthorized("WIRO_API_KEY has letters that no key has.")
        headers = self._signature() | {"Content-Type": body.content_type, "Content-Length": str(body.length)}
        with body.opened() as data:
            return self._http.post(path, data, headers, read_s=read_s)

    def _signature(self) -> dict[str, str]:
        if not self._secret:
            return {"x-api-key": self._key}
        # Never the same twice, whichever thread, process or host asks: no clock, no counter.
        nonce = str(secrets.randbits(63))
        mac = self._mac.copy()
        mac.update(nonce.encode())
        return {"x-api-key": self._key, "x-nonce": nonce, "x-signature": mac.hexdigest()}

    def _refusal(self, answer: Answer, document: Mapping[str, Any] | None) -> WiroError | None:
        error = refusal(answer.status, answer.headers, document, datetime.now(UTC))
        if error is not None:
            # What a vendor's message may quote must not get into a log.
            text = str(error)
            for secret in (self._key, self._secret):
                text = text.replace(secret, "***") if len(secret) >= _MIN_SECRET else text
            error.args = (text,)
        return error


def _image_form(fields: Mapping[str, Any], field: str, url: str | None, file: FileSource | None) -> Body:
    """A file in `field` or a URL in `{field}Url`; the vendor wants the other one too, empty."""
    rest = {name: value for name, value in fields.items() if name not in (field, f"{field}Url")}
    if file is not None:
        return form_body({f"{field}Url": "", **rest}, field, file)
    return form_body({field: "", f"{field}Url": url or "", **rest})


def _both(task_id: str, token: str) -> dict[str, str]:
    # The model page says taskid, the docs say tasktoken.
    return {name: value for name, value in (("taskid", task_id), ("tasktoken", token)) if value}
