"""Tasks as Task/Detail describes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from pipeline.wiro.errors import NoResponse, TaskNotFound, printable_message
from pipeline.wiro.values import (
    MAX_URL_CHARS,
    parse_embedded_json,
    to_id,
    to_integer,
    to_model,
    to_number,
    to_plain_json,
    to_status,
    to_task_id,
    to_text,
    to_time,
)

QUEUED = "task_queue"
ENDED = "task_postprocess_end"
CANCELLED = "task_cancel"
_MAX_OUTPUTS = 1000
_MAX_NAME_CHARS = 255
_MAX_TYPE_CHARS = 100


@dataclass(frozen=True)
class TaskOutput:
    """One output of a task: a file at `url`, or `content`. `size` is in bytes, None if unknown.

    `content` is text, or the object of an answer that a language model gave, as the vendor sent it.
    """

    name: str
    content_type: str
    size: int | None
    url: str
    content: Any | None = None
    expires: datetime | None = None
    """When `url` stops working, None if the vendor does not state it."""


@dataclass(frozen=True)
class Task:
    """A task at the vendor. Times are aware UTC. '' and None: the vendor sent no value."""

    id: str
    token: str
    status: str
    pexit: str
    """Exit code of the model's process, '0' for success."""
    cost_usd: Decimal | None
    """What the vendor charged; a stopped task may be charged too. None: the vendor sent no cost."""
    elapsed_s: Decimal | None
    created: datetime | None
    started: datetime | None
    finished: datetime | None
    callback_url: str
    outputs: tuple[TaskOutput, ...]
    failure_reason: str
    """The last line of the model's stderr, if the vendor sent it."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The parameters of the run as the vendor stored them."""
    text: str = ""
    """What the model printed: the merged text of a language model."""
    model: str = ""
    """"owner/name" in lower case."""

    @property
    def queued(self) -> bool:
        """Whether the task waits. It can then be cancelled, but not killed."""
        return self.status == QUEUED

    @property
    def ended(self) -> bool:
        """Whether the task has ended. An unknown status counts as active."""
        return self.status in (ENDED, CANCELLED)

    @property
    def cancelled(self) -> bool:
        """Whether the task was cancelled or killed."""
        return self.status == CANCELLED

    @property
    def succeeded(self) -> bool:
        """Whether the task succeeded (API doc): `pexit` 0 or, without `pexit`, at least one output."""
        return self.status == ENDED and (self.pexit == "0" if self.pexit else bool(self.outputs))


def parse_task(document: Mapping[str, Any], *, token: str, task_id: str) -> Task:
    """Return the requested task. Raises TaskNotFound; NoResponse if the response describes another task."""
    tasks = _task_list(document)
    if not tasks:
        raise TaskNotFound
    for fields in tasks:
        if isinstance(fields, Mapping) and _matches(fields, token, task_id):
            return _task(fields, token, task_id)
    raise NoResponse("The vendor's response describes another task than the requested one.")


def parse_tasks(document: Mapping[str, Any]) -> list[Task]:
    """Return a task for each row of a listing. A row that cannot be read has neither id nor token.

    Raises NoResponse if the response has no list.
    """
    rows = document.get("tasklist")
    if not isinstance(rows, list):
        raise NoResponse("The vendor's response has no task list.")
    return [_task(fields if isinstance(fields, Mapping) else {}, "", "") for fields in rows]


def _task_list(document: Mapping[str, Any]) -> list[Any]:
    tasks = document.get("tasklist")
    if isinstance(tasks, Mapping):
        return [tasks]
    if tasks is None and "status" in document:
        return [document]
    if not isinstance(tasks, list):
        raise NoResponse("The vendor's response has no task list.")
    return tasks


def parse_outputs(value: object) -> tuple[TaskOutput, ...]:
    """Return the outputs in a list; entries without a URL and without content are skipped."""
    entries = value[:_MAX_OUTPUTS] if isinstance(value, list) else []
    outputs = [_output(fields) for fields in entries if isinstance(fields, Mapping)]
    return tuple(output for output in outputs if output.url or output.content is not None)


def _matches(fields: Mapping[str, Any], token: str, task_id: str) -> bool:
    """Return whether the ids in `fields` do not contradict the requested ones. Each may be missing."""
    own_token = to_id(fields.get("socketaccesstoken"))
    if token and own_token:
        return own_token == token
    own_id = _own_id(fields)
    return not (task_id and own_id and own_id != task_id)


def _own_id(fields: Mapping[str, Any]) -> str:
    return to_task_id(fields.get("id")) or to_task_id(fields.get("taskid"))


def _task(fields: Mapping[str, Any], token: str, task_id: str) -> Task:
    status, pexit = to_status(fields.get("status")), to_text(fields.get("pexit")).strip()
    parameters = parse_embedded_json(fields.get("parameters"))
    return Task(
        id=_own_id(fields) or task_id,
        token=to_id(fields.get("socketaccesstoken")) or token,
        status=status,
        pexit=pexit,
        cost_usd=to_number(fields.get("totalcost")),
        elapsed_s=to_number(fields.get("elapsedseconds")),
        created=to_time(fields.get("createtime")),
        started=to_time(fields.get("starttime")),
        finished=to_time(fields.get("postprocessendtime")) or to_time(fields.get("canceltime")),
        callback_url=to_text(fields.get("callbackurl"))[:MAX_URL_CHARS],
        outputs=parse_outputs(fields.get("outputs")),
        failure_reason=_failure_reason(fields, status, pexit),
        parameters=to_plain_json(parameters) if isinstance(parameters, Mapping) else {},
        text=to_text(fields.get("debugoutput")),
        model=to_model(fields.get("modelslugowner"), fields.get("modelslugproject")),
    )


def _failure_reason(fields: Mapping[str, Any], status: str, pexit: str) -> str:
    if status == CANCELLED:
        return "The task was cancelled."
    lines = [line for line in to_text(fields.get("debugerror")).splitlines() if line.strip()]
    if lines:
        return printable_message(lines[-1])
    if status == ENDED and not pexit:
        return "The task ended without an exit code and without an output."
    return f"The task failed (pexit {printable_message(pexit) or 'unknown'})."


def _output(fields: Mapping[str, Any]) -> TaskOutput:
    url = to_text(fields.get("url")).strip()
    media_type = printable_message(to_text(fields.get("contenttype"))).partition(";")[0].strip().lower()
    return TaskOutput(
        name=printable_message(to_text(fields.get("name")))[:_MAX_NAME_CHARS],
        content_type=media_type[:_MAX_TYPE_CHARS],
        size=to_integer(fields.get("size")),
        url=url if len(url) <= MAX_URL_CHARS else "",
        content=to_plain_json(fields.get("content")),
        expires=to_time(fields.get("expiretime")),
    )
