"""The vendor's answers as typed objects. Pure.

Almost every number comes as a string, nulls turn up anywhere, some answers are wrapped in `data`, some lists are no
JSON: whatever is not understood is left out, and only an answer without its substance is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.wiro.errors import NoAnswer, TaskNotFound, printable_message

QUEUED = "task_queue"
ENDED = "task_postprocess_end"
CANCELLED = "task_cancel"

_ID = re.compile(r"[!-~]{1,256}")
_MAX_URL_CHARS = 8192
_MAX_OUTPUTS = 1000
_FLAT_INPUTS: tuple[object, ...] = ({}, [], None, "")


@dataclass(frozen=True)
class Run:
    """A run that the vendor took. One of both may be '' where the vendor left it out."""

    task_id: str
    token: str


@dataclass(frozen=True)
class TaskOutput:
    """One output of a task: a file at `url`, or `content` in its place. `size` is None when not said."""

    name: str
    content_type: str
    size: int | None
    url: str
    content: str | None = None


@dataclass(frozen=True)
class Task:
    """A task as the vendor tells it. Times are aware UTC; '' and None: not said."""

    id: str
    token: str
    status: str
    pexit: str
    cost_usd: Decimal
    elapsed_s: Decimal | None
    created: datetime | None
    started: datetime | None
    finished: datetime | None
    callback_url: str
    outputs: tuple[TaskOutput, ...]
    why_failed: str
    """In the vendor's words where it has any: the last line of its stderr."""

    @property
    def queued(self) -> bool:
        """Whether it waits: it can be cancelled, and not yet killed."""
        return self.status == QUEUED

    @property
    def ended(self) -> bool:
        """Whether it has ended, one way or another. A status that nobody knows is one on the way."""
        return self.status in (ENDED, CANCELLED)

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled or killed."""
        return self.status == CANCELLED

    @property
    def succeeded(self) -> bool:
        """Whether it ended well. Only successes are billed: one that has cost something and lacks `pexit` is one."""
        return self.status == ENDED and (self.pexit == "0" or (not self.pexit and self.cost_usd > 0))


@dataclass(frozen=True)
class Tool:
    """A model: its price and the names of its parameters that take a file."""

    model: str
    title: str
    per_run_usd: Decimal | None
    """What a run costs, whatever its parameters; None when that is not to be had."""
    parameters: tuple[str, ...]
    image_fields: tuple[str, ...]


@dataclass(frozen=True)
class CallbackHint:
    """What a callback claims: '' for what it does not. Nothing is believed before Task/Detail has said so."""

    task_id: str = ""
    token: str = ""
    status: str = ""


@dataclass(frozen=True)
class ProgressMessage:
    """One message of the WebSocket. `percentage` runs from 0 to 100; it and the steps are there where the model tells
    them."""

    status: str
    text: str = ""
    percentage: Decimal | None = None
    step: int | None = None
    steps: int | None = None
    remaining_s: Decimal | None = None
    outputs: tuple[TaskOutput, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it is the last. `task_end` is not: outputs do not exist yet."""
        return self.status in (ENDED, CANCELLED)


def read_json(body: bytes | str) -> Any:
    """A JSON text; its fractions are Decimals. Raises ValueError when it is none, or nested too deeply."""
    try:
        return json.loads(body, parse_float=_decimal, parse_constant=lambda name: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_document(body: bytes) -> dict[str, Any] | None:
    """The JSON object in `body`, what is wrapped in `data` laid over it; None when there is none."""
    try:
        document = read_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    inner = document.get("data")
    if isinstance(inner, list):
        inner = {"tasklist": inner, "list": inner, **(inner[0] if inner and isinstance(inner[0], dict) else {})}
    return {**document, **inner} if isinstance(inner, dict) else document


def read_run(document: Mapping[str, Any]) -> Run | None:
    """The run that an answer tells of, None when it names none."""
    run = Run(_task_id(document.get("taskid")), _id(document.get("socketaccesstoken")))
    return run if run.task_id or run.token else None


def read_task(document: Mapping[str, Any], *, token: str, task_id: str) -> Task:
    """The task that was asked for. Raises TaskNotFound, NoAnswer when another one was answered."""
    tasks = document.get("tasklist")
    if isinstance(tasks, Mapping):
        tasks = [tasks]
    if tasks is None and "status" in document:
        tasks = [document]
    if not isinstance(tasks, list):
        raise NoAnswer("The vendor's answer has no task list.")
    if not tasks:
        raise TaskNotFound
    for fields in tasks:
        if isinstance(fields, Mapping) and _is(fields, token, task_id):
            return _task(fields, token, task_id)
    raise NoAnswer("The vendor answers for another task than was asked for.")


def read_tool(document: Mapping[str, Any], model: str) -> Tool:
    """A model's description. Raises NoAnswer when there is none."""
    tools = document.get("tool")
    fields = tools[0] if isinstance(tools, list) and tools else tools
    if not isinstance(fields, Mapping):
        raise NoAnswer("The vendor's answer has no tool.")
    parameters = list(_parameters(fields.get("parameters")))
    return Tool(
        model=model,
        title=printable_message(_text(fields.get("title"))),
        per_run_usd=_flat_price(fields.get("dynamicprice")),
        parameters=tuple(name for name, _ in parameters),
        image_fields=tuple(name for name, kind in parameters if "fileinput" in kind),
    )


def read_folder(document: Mapping[str, Any]) -> str:
    """The id of a folder that was made. Raises NoAnswer when there is none."""
    if folder := _id(_first_entry(document).get("id")):
        return folder
    raise NoAnswer("The vendor's answer names no folder.")


def read_file_url(document: Mapping[str, Any]) -> str:
    """The URL of a file that was uploaded. Raises NoAnswer when there is none."""
    url = _text(_first_entry(document).get("url")).strip()
    if url.startswith(("https://", "http://")) and len(url) <= _MAX_URL_CHARS:
        return url
    raise NoAnswer("The vendor's answer names no address of the file.")


def read_progress(text: bytes | str, token: str) -> ProgressMessage | None:
    """A message about the task with this token; None for anything else."""
    try:
        fields = read_json(text)
    except ValueError:
        return None
    if not isinstance(fields, dict) or _id(fields.get("tasktoken")) not in ("", token):
        return None
    status, message = _status(fields.get("type")), fields.get("message")
    if not status:
        return None
    if isinstance(message, list):
        return ProgressMessage(status, outputs=_outputs(message))
    if isinstance(message, Mapping):
        return _progress(status, message)
    return ProgressMessage(status, printable_message(_text(message)))


def _progress(status: str, fields: Mapping[str, Any]) -> ProgressMessage:
    return ProgressMessage(
        status=status,
        text=printable_message(_text(fields.get("message") or fields.get("raw"))),
        percentage=_number(fields.get("percentage")),
        step=_whole(fields.get("stepCurrent")),
        steps=_whole(fields.get("stepTotal")),
        remaining_s=_number(fields.get("remainingTime")),
    )


def parse_callback(body: bytes) -> CallbackHint:
    """What a callback's body claims, whatever its shape. Never raises."""
    try:
        document = read_json(body)
    except ValueError:
        return _salvaged(body)
    fields = _innermost(document)
    return CallbackHint(
        task_id=_task_id(fields.get("taskid")) or _task_id(fields.get("id")),
        token=_id(fields.get("socketaccesstoken")) or _id(fields.get("tasktoken")),
        status=_status(fields.get("status") or fields.get("type")),
    )


_TASK_IN_TEXT = re.compile(rb'"taskid"\s*:\s*"?([A-Za-z0-9_-]{1,64})\b')
_TOKEN_IN_TEXT = re.compile(rb'"(?:socketaccesstoken|tasktoken)"\s*:\s*"([!#-\[\]-~]{1,256})"')


def _salvaged(body: bytes) -> CallbackHint:
    """Ids from a text that is cut off: a hint is checked anyhow."""
    task, token = _TASK_IN_TEXT.search(body), _TOKEN_IN_TEXT.search(body)
    return CallbackHint(task[1].decode() if task else "", token[1].decode() if token else "")


def _innermost(value: object) -> Mapping[str, Any]:
    """The TASK in whatever is wrapped around it."""
    for _ in range(8):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, Mapping):
            return {}
        inner = next(
            (value[name] for name in ("tasklist", "data", "task") if isinstance(value.get(name), dict | list)), None
        )
        if not inner:
            return value
        value = inner
    return {}


def _is(fields: Mapping[str, Any], token: str, task_id: str) -> bool:
    """Whether this may be the task asked for: what it says of itself does not contradict."""
    own_token = _id(fields.get("socketaccesstoken"))
    if token and own_token:
        return own_token == token
    own_id = _task_id(fields.get("id")) or _task_id(fields.get("taskid"))
    return not (task_id and own_id and own_id != task_id)


def _task(fields: Mapping[str, Any], token: str, task_id: str) -> Task:
    status, pexit = _status(fields.get("status")), _text(fields.get("pexit")).strip()
    return Task(
        id=_task_id(fields.get("id")) or _task_id(fields.get("taskid")) or task_id,
        token=_id(fields.get("socketaccesstoken")) or token,
        status=status,
        pexit=pexit,
        cost_usd=_number(fields.get("totalcost")) or Decimal(0),
        elapsed_s=_number(fields.get("elapsedseconds")),
        created=_time(fields.get("createtime")),
        started=_time(fields.get("starttime")),
        finished=_time(fields.get("postprocessendtime")) or _time(fields.get("canceltime")),
        callback_url=_text(fields.get("callbackurl"))[:_MAX_URL_CHARS],
        outputs=_outputs(fields.get("outputs")),
        why_failed=_why(fields, status, pexit),
    )


def _why(fields: Mapping[str, Any], status: str, pexit: str) -> str:
    if status == CANCELLED:
        return "The task was cancelled."
    lines = [line for line in _text(fields.get("debugerror")).splitlines() if line.strip()]
    return (
        printable_message(lines[-1]) if lines else f"The task failed (pexit {printable_message(pexit) or 'not said'})."
    )


def _outputs(value: object) -> tuple[TaskOutput, ...]:
    entries = value[:_MAX_OUTPUTS] if isinstance(value, list) else []
    found = [_output(fields) for fields in entries if isinstance(fields, Mapping)]
    return tuple(output for output in found if output.url or output.content is not None)


def _output(fields: Mapping[str, Any]) -> TaskOutput:
    url, content = _text(fields.get("url")).strip(), fields.get("content")
    if content is not None and not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False, default=str)
    return TaskOutput(
        name=printable_message(_text(fields.get("name")))[:255],
        content_type=printable_message(_text(fields.get("contenttype"))).partition(";")[0].strip().lower()[:100],
        size=_whole(fields.get("size")),
        url=url if len(url) <= _MAX_URL_CHARS else "",
        content=content,
    )


def _parameters(value: object, depth: int = 0) -> Iterator[tuple[str, str]]:
    """(name, type) of each parameter; they come in groups."""
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            return
    for fields in value if isinstance(value, list) and depth < 4 else ():
        if not isinstance(fields, Mapping):
            continue
        if name := _id(fields.get("id")):
            yield name, _text(fields.get("type")).lower()
        yield from _parameters(fields.get("items"), depth + 1)


def _flat_price(value: object) -> Decimal | None:
    """The price of a run where it is one price for all; the highest where several are named."""
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            return None
    entries = [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
    if any(entry.get("priceMethod") != "cpr" or entry.get("inputs") not in _FLAT_INPUTS for entry in entries):
        return None
    prices = [price for entry in entries if (price := _number(entry.get("price"))) is not None]
    return max(prices, default=None)


def _first_entry(document: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = document.get("list")
    entry = entries[0] if isinstance(entries, list) and entries else entries
    return entry if isinstance(entry, Mapping) else {}


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _id(value: object) -> str:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if _ID.fullmatch(text) else ""


def _task_id(value: object) -> str:
    text = _id(value)
    return "" if text == "0" else text


def _status(value: object) -> str:
    return _id(value).lower()[:64]


def _decimal(text: str) -> Decimal | None:
    """A number within what money and seconds can be; None for anything else."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    exponent = number.as_tuple().exponent
    # A huge exponent is cheap to write and ruinous to print or to add.
    if not isinstance(exponent, int) or exponent < -40 or number.adjusted() > 18:
        return None
    return number


def _number(value: object) -> Decimal | None:
    """A number that is not negative, given as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    text = str(value).strip()
    number = _decimal(text) if len(text) <= 64 else None
    return number if number is not None and number >= 0 else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _time(value: object) -> datetime | None:
    """Unix time, in seconds; 0 is no time."""
    seconds = _number(value)
    if not seconds or seconds > 253_402_300_799:
        return None
    return datetime.fromtimestamp(float(seconds), UTC)
