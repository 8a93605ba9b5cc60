"""Fields of log events from outside made harmless: bounded in length, without control and direction characters. Pure.

A line is bounded: a client that sends a text of a megabyte must not be able to fill the disk with it, or to forge lines
on the terminal of a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from structlog.typing import EventDict, WrappedLogger

from pipeline.domain.plain_text import escape_control_chars, escape_lines, shorten

MAX_TEXT_CHARS = 2000
MAX_TRACEBACK_CHARS = 20_000
MAX_ELEMENTS = 20
MAX_FIELDS = 50
MAX_DEPTH = 3
_MAX_NESTED_CHARS = 200
_MAX_NAME_CHARS = 100
_MAX_BITS = 128


def bound_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return the event with bounded, escaped fields: a processor of structlog."""
    bounded = {_name(name): _field(value) for name, value in islice(event.items(), MAX_FIELDS)}
    if isinstance(traceback := event.get("exception"), str):
        bounded["exception"] = escape_lines(_middle_out(traceback))
    return bounded


def _field(value: object) -> object:
    return _text(value, MAX_TEXT_CHARS) if isinstance(value, str) else _nested(value, MAX_DEPTH)


def _nested(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_BITS else f"an integer of {value.bit_length()} bits"
    if isinstance(value, Mapping) and depth:
        pairs = islice(value.items(), MAX_ELEMENTS)
        return {_name(name): _nested(one, depth - 1) for name, one in pairs} | _rest(len(value))
    if isinstance(value, list | tuple | set | frozenset) and depth:
        found: list[object] = [_nested(one, depth - 1) for one in islice(value, MAX_ELEMENTS)]
        return found + list(_rest(len(value)).values())
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return f"{type(value).__name__} of {len(value)}"
    text = value if isinstance(value, str) else repr(value)
    return _text(text, MAX_TEXT_CHARS if depth == MAX_DEPTH else _MAX_NESTED_CHARS)


def _rest(length: int) -> dict[str, object]:
    return {"…": f"{length - MAX_ELEMENTS} more"} if length > MAX_ELEMENTS else {}


def _name(name: object) -> str:
    return _text(str(name), _MAX_NAME_CHARS)


def _text(text: str, max_chars: int) -> str:
    return escape_control_chars(shorten(text, max_chars))


def _middle_out(traceback: str) -> str:
    """Return a traceback without its middle if it is long: its end shows what happened."""
    if len(traceback) <= MAX_TRACEBACK_CHARS:
        return traceback
    half = MAX_TRACEBACK_CHARS // 2
    return f"{traceback[:half]}\n… ({len(traceback) - 2 * half} characters left out)\n{traceback[-half:]}"
