"""Tolerant conversion of the vendor's JSON values. Pure.

Most numbers are strings, and any value may be null. A value that is not valid becomes '' or None, never an error.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_URL_CHARS = 8192
_ID = re.compile(r"[!-~]{1,256}")
_MAX_NUMBER_CHARS = 64
_MIN_EXPONENT = -40
_MAX_EXPONENT = 18
_MAX_UNIX_TIME_S = 253_402_300_799
"""The last second of the year 9999."""


def parse_json(text: bytes | str) -> Any:
    """Parse JSON; fractions become Decimals, NaN and Infinity None. Raises ValueError.

    Bytes that are not text of the encoding are replaced: one in a prompt must not hide the ids beside it.
    """
    try:
        return json.loads(text, parse_float=_decimal, parse_constant=lambda name: None)
    except UnicodeDecodeError as error:
        return parse_json(error.object.decode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None


def parse_embedded_json(value: object) -> object:
    """Parse JSON that the vendor put into a string. Return other values as they are, None for invalid JSON."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return None


def to_plain_json(value: object) -> Any:
    """Return a parsed value with fractions as floats, which can be stored as JSON. None if it is nested too deeply."""
    try:
        return json.loads(json.dumps(value, default=float))
    except RecursionError:
        return None


def to_text(value: object) -> str:
    """Return a scalar as text, '' for anything else."""
    return "" if value is None or isinstance(value, dict | list) else str(value)


def to_param_text(value: object) -> str:
    """Return the value of a parameter as the text that stands for it: `true`, `5` for 5.0, JSON for an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        return f"{Decimal(str(value)).normalize():f}"
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def to_model(owner: object, name: object) -> str:
    """Return a model as "owner/name" in lower case, '' if one of the two is missing. The vendor mixes cases."""
    parts = ["-".join(to_text(part).lower().split()) for part in (owner, name)]
    return "/".join(parts) if all(parts) else ""


def to_id(value: object) -> str:
    """Return an id of 1 to 256 printable ASCII characters without spaces, '' for anything else."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if _ID.fullmatch(text) else ""


def to_task_id(value: object) -> str:
    """Return a task id; the vendor writes 0 for none."""
    text = to_id(value)
    return "" if text == "0" else text


def to_status(value: object) -> str:
    """Return a status in lower case, at most 64 characters."""
    return to_id(value).lower()[:64]


def to_number(value: object) -> Decimal | None:
    """Return a number that is not negative, from a number or its text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    text = str(value).strip()
    number = _decimal(text) if len(text) <= _MAX_NUMBER_CHARS else None
    return number if number is not None and number >= 0 else None


def to_signed_number(value: object) -> Decimal | None:
    """Return a number of any sign, from a number or its text."""
    text = to_text(value).strip()
    if text.startswith("-"):
        return None if (number := to_number(text[1:])) is None else -number
    return to_number(text)


def to_integer(value: object) -> int | None:
    """Return an integer that is not negative, from a number or its text."""
    number = to_number(value)
    return int(number) if number is not None and number == int(number) else None


def to_time(value: object) -> datetime | None:
    """Return an aware time from Unix seconds; the vendor writes 0 for none."""
    seconds = to_number(value)
    if not seconds or seconds > _MAX_UNIX_TIME_S:
        return None
    return datetime.fromtimestamp(float(seconds), UTC)


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    exponent = number.as_tuple().exponent
    # A number with a huge exponent is short, but printing or adding it needs gigabytes.
    if not isinstance(exponent, int) or exponent < _MIN_EXPONENT or number.adjusted() > _MAX_EXPONENT:
        return None
    return number
