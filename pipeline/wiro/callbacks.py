"""Callback bodies. Pure. Their content is a hint that Task/Detail must confirm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.wiro.values import parse_json, to_id, to_status, to_task_id

_WRAPPERS = ("tasklist", "data", "task")
_MAX_DEPTH = 8
_TASK_ID = re.compile(rb'"taskid"\s*:\s*"?([A-Za-z0-9_-]{1,64})\b')
_TOKEN = re.compile(rb'"(?:socketaccesstoken|tasktoken)"\s*:\s*"([!#-\[\]-~]{1,256})"')


@dataclass(frozen=True)
class CallbackHint:
    """The ids and the status in a callback, '' for missing ones."""

    task_id: str = ""
    token: str = ""
    status: str = ""


def parse_callback(body: bytes) -> CallbackHint:
    """Return the hint in a callback's body of any shape. Never raises."""
    try:
        document = parse_json(body)
    except ValueError:
        return _search(body)
    fields = _unwrap(document)
    return CallbackHint(
        task_id=to_task_id(fields.get("taskid")) or to_task_id(fields.get("id")),
        token=to_id(fields.get("socketaccesstoken")) or to_id(fields.get("tasktoken")),
        status=to_status(fields.get("status") or fields.get("type")),
    )


def _search(body: bytes) -> CallbackHint:
    """Search a truncated body for the ids."""
    task_id, token = _TASK_ID.search(body), _TOKEN.search(body)
    return CallbackHint(task_id[1].decode() if task_id else "", token[1].decode() if token else "")


def _unwrap(value: object) -> Mapping[str, Any]:
    """Return the innermost object; the vendor wraps a task in lists and objects."""
    for _ in range(_MAX_DEPTH):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, Mapping):
            return {}
        inner = next((value[name] for name in _WRAPPERS if isinstance(value.get(name), dict | list)), None)
        if not inner:
            return value
        value = inner
    return {}
