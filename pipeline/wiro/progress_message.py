"""Messages of the vendor's WebSocket. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.wiro.errors import printable_message
from pipeline.wiro.tasks import CANCELLED, ENDED, TaskOutput, parse_outputs
from pipeline.wiro.values import parse_json, to_id, to_integer, to_number, to_status, to_text


@dataclass(frozen=True)
class ProgressMessage:
    """One message about a task. `percentage` is 0 to 100. A model may send no percentage and no steps."""

    status: str
    text: str = ""
    percentage: Decimal | None = None
    step: int | None = None
    steps: int | None = None
    remaining_s: Decimal | None = None
    outputs: tuple[TaskOutput, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether this is the last message. `task_end` is not: outputs do not exist yet."""
        return self.status in (ENDED, CANCELLED)


def parse_progress(text: bytes | str, token: str) -> ProgressMessage | None:
    """Return a message about the task with this token, None for any other text."""
    try:
        fields = parse_json(text)
    except ValueError:
        return None
    if not isinstance(fields, dict) or to_id(fields.get("tasktoken")) not in ("", token):
        return None
    status, message = to_status(fields.get("type")), fields.get("message")
    if not status:
        return None
    if isinstance(message, list):
        return ProgressMessage(status, outputs=parse_outputs(message))
    if isinstance(message, Mapping):
        return _progress(status, message)
    return ProgressMessage(status, printable_message(to_text(message)))


def _progress(status: str, fields: Mapping[str, Any]) -> ProgressMessage:
    return ProgressMessage(
        status=status,
        text=printable_message(to_text(fields.get("message") or fields.get("raw"))),
        percentage=to_number(fields.get("percentage")),
        step=to_integer(fields.get("stepCurrent")),
        steps=to_integer(fields.get("stepTotal")),
        remaining_s=to_number(fields.get("remainingTime")),
    )
