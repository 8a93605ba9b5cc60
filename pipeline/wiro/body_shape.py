"""The shape of a body: its keys and the types of its values, without the values. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.wiro.errors import printable_message
from pipeline.wiro.values import parse_json

MAX_SHAPE_CHARS = 4000
_MAX_DEPTH = 6
_MAX_KEYS = 64
_MAX_KEY_CHARS = 64
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def body_shape(body: bytes) -> str:
    """Return the shape of a JSON body, `{id: number as text, outputs: [{url: text}]}`; of any other one its size.

    The entries of a list are described by the first one. Keys that are no names, such as ids, are left out.
    """
    if not body:
        return "empty"
    try:
        shape = _shape(parse_json(body), 0)
    except ValueError:
        return f"not JSON, {len(body):,} bytes"
    return shape if len(shape) <= MAX_SHAPE_CHARS else shape[: MAX_SHAPE_CHARS - 1] + "…"


def _shape(value: object, depth: int) -> str:
    if isinstance(value, Mapping | list) and depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        fields = [f"{_key(key)}: {_shape(inner, depth + 1)}" for key, inner in list(value.items())[:_MAX_KEYS]]
        return f"{{{', '.join(fields)}{', …' if len(value) > _MAX_KEYS else ''}}}"
    if isinstance(value, list):
        return f"[{_shape(value[0], depth + 1)}]" if value else "[]"
    if isinstance(value, str):
        return "number as text" if _NUMBER.fullmatch(value) else "text" if value else "empty text"
    return "null" if value is None else "true or false" if isinstance(value, bool) else "number"


def _key(key: str) -> str:
    return printable_message(key)[:_MAX_KEY_CHARS] if _NAME.fullmatch(key) else "(no name)"
