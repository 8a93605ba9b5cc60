"""Refusals of the vendor as exceptions, from status and body. Pure.

Most refusals are HTTP 200 with `{"result": false, "errors": [{"code": 97, "message": "…"}]}`, others have a status.
The vendor's documentation contradicts itself, so both are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.errors import DailiesError

MAX_RETRY_AFTER_S = 300.0
MAX_MESSAGE_CHARS = 500
_MAX_ERRORS = 100
_TOO_MANY_TASKS, _INSUFFICIENT_BALANCE, _NOT_SIGNED_IN, _BAD_TOKEN, _NOT_FOUND = 96, 97, 98, 99, 1


class WiroError(DailiesError):
    """The vendor refused a call or failed. `retryable`: the same call can be repeated and buys nothing twice."""


class Invalid(WiroError):
    """The vendor rejected the request: a parameter is missing or out of range."""


class NotFound(WiroError):
    """The vendor has no such model, task or file, or the task is not in the right state."""


class TaskNotFound(NotFound):
    """The vendor has no such task."""


class TooManyTasks(WiroError):
    """The balance of the account allows no more active tasks. `allowed`: their maximum, None if unknown."""

    retryable = True

    def __init__(self, message: str = "", allowed: int | None = None) -> None:
        super().__init__(message)
        self.allowed = allowed


class AccountRefused(WiroError):
    """The account cannot run: it is suspended, lacks a permission, or its spend limit is reached."""


class ModelNotAllowed(WiroError):
    """The team of the project may not run this model. Allow it at the vendor, or use another model."""


class InsufficientBalance(AccountRefused):
    """The balance of the account is too low. Add funds at the vendor, then run `dailies resume`."""


class NotAuthorized(AccountRefused):
    """The vendor rejected the key, the signature or the IP address. Check WIRO_API_KEY and WIRO_API_SECRET."""


class NoSuchEndpoint(WiroError):
    """The vendor has no such endpoint. Check WIRO_API_URL and the name of the model."""


class RateLimited(WiroError):
    """The vendor allows fewer requests. `retry_after_s`: seconds to wait, None if unknown."""

    retryable = True

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class VendorFault(WiroError):
    """The vendor failed and did not execute the call."""

    retryable = True


class NotSent(WiroError):
    """The request did not reach the vendor."""

    retryable = True


class NoResponse(WiroError):
    """The response to a repeatable call was lost or is not valid. The vendor may have executed the call."""

    retryable = True


class ResponseLost(WiroError):
    """The response to a Run was lost: the vendor may have accepted it. It must not be posted again blindly."""


def refusal(
    status: int, headers: Mapping[str, str], document: Mapping[str, Any] | None, now: datetime
) -> WiroError | None:
    """Return the refusal in a response, None if it is a success.

    `document`: the body as a JSON object, None if it is none. NoResponse: it is open whether the call was executed.
    """
    code, message = _first_error(document)
    if 200 <= status < 300:
        if document is None:
            return NoResponse("The vendor's response is not JSON.")
        return _by_code(code, message) or _by_message(message, code) if is_refusal(document) else None
    text = f"HTTP {status}: {message}" if message else f"The vendor answers HTTP {status}."
    if code not in (_TOO_MANY_TASKS, _INSUFFICIENT_BALANCE):
        if status in (401, 403):
            return NotAuthorized(text)
        if status == 429:
            return RateLimited(text, retry_after_s(headers, now))
    return _by_code(code, message) or _by_status(status, document, code, message, text)


def is_refusal(document: Mapping[str, Any]) -> bool:
    """Return whether the body states that the call was not executed."""
    result = document.get("result")
    if result is None:
        return bool(document.get("errors"))
    return result in (False, 0, "false", "False", "0")


def printable_message(text: str) -> str:
    """Return the vendor's text as one line without control characters, at most MAX_MESSAGE_CHARS."""
    line = " ".join(text[: 4 * MAX_MESSAGE_CHARS].split())
    line = "".join(letter if letter.isprintable() else "�" for letter in line)
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the wait of `Retry-After` (seconds or a date), from 0 to MAX_RETRY_AFTER_S seconds, None without one."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return min(float(value), MAX_RETRY_AFTER_S)
    until = _parse_date(value)
    if until is None:
        return None
    # The vendor's own clock, if it sends one: the local clock may differ.
    vendor_now = _parse_date(headers.get("Date", "")) or now
    return min(max((until - vendor_now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _parse_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _first_error(document: Mapping[str, Any] | None) -> tuple[int | None, str]:
    """Return code and message of the first error with a code, else of the first error."""
    if document is None:
        return None, ""
    errors = document.get("errors") or document.get("error") or document.get("message") or []
    parsed = [_parse_error(error) for error in (errors[:_MAX_ERRORS] if isinstance(errors, list) else [errors])]
    with_code = [error for error in parsed if error[0] is not None]
    return (with_code or parsed or [(None, "")])[0]


def _parse_error(error: object) -> tuple[int | None, str]:
    if not isinstance(error, Mapping):
        return None, printable_message(error) if isinstance(error, str) else ""
    code, message = error.get("code"), error.get("message")
    number = isinstance(code, int | str) and re.fullmatch(r"\d{1,6}", str(code))
    return int(number[0]) if number else None, printable_message(message) if isinstance(message, str) else ""


def _by_code(code: int | None, message: str) -> WiroError | None:
    """Return the refusal of a code that has one meaning with any status."""
    if code == _TOO_MANY_TASKS:
        return TooManyTasks(message, _allowed_tasks(message))
    if code == _INSUFFICIENT_BALANCE:
        return InsufficientBalance(message)
    if code in (_NOT_SIGNED_IN, _BAD_TOKEN):
        return NotAuthorized(message)
    return NotFound(message) if code == _NOT_FOUND else None


def _allowed_tasks(message: str) -> int | None:
    match = re.search(r"up to (\d{1,6}) (?:\w+ )?tasks?\b", message, re.I)
    return int(match[1]) if match and int(match[1]) > 0 else None


def _by_status(status: int, document: Mapping[str, Any] | None, code: int | None, message: str, text: str) -> WiroError:
    if status in (404, 405) or 300 <= status < 400:
        return NoSuchEndpoint(f"{text} Check WIRO_API_URL and the name of the model.")
    if status in (408, 425):
        return VendorFault(text)
    if 400 <= status < 500:
        error = _by_message(message, code)
        is_unclear = type(error) in (VendorFault, NoResponse) and not _FAULT_WORDS.search(message)
        return Invalid(text) if is_unclear else error
    return VendorFault(text) if _was_not_executed(status, document) else NoResponse(text)


def _was_not_executed(status: int, document: Mapping[str, Any] | None) -> bool:
    """Return whether a server error proves that the call was not executed.

    A 502 or 504 of a proxy does not: the vendor may have received the request. A 502 with the vendor's own refusal in
    its body does. 521, 522 and 523 are Cloudflare's for a vendor that it could not reach.
    """
    return status in (500, 503, 521, 522, 523) or (status == 502 and document is not None and is_refusal(document))


_FAULT_WORDS = re.compile(
    r"server|internal|went wrong|try again|temporar|unavailable|time[d-]? ?out|overload|busy|maintenance", re.I
)
_INVALID_WORDS = re.compile(
    r"\b(required|missing|invalid|must|out of range|not allowed|not supported|unsupported|cannot be|can not be|"
    r"exceeds?|too (long|short|large|big|small|many|few)|at (most|least)|should be|expected|malformed|wrong|"
    r"not valid|empty|greater than|less than|between|maximum|minimum|unknown|format)\b",
    re.I,
)
_MESSAGE_PATTERNS: tuple[tuple[re.Pattern[str], type[WiroError]], ...] = (
    (re.compile(r"insufficient (balance|funds|credit)|not enough (balance|funds|credit)", re.I), InsufficientBalance),
    (re.compile(r"too many requests|rate limit", re.I), RateLimited),
    (re.compile(r"invalid (api key|signature|nonce)|unauthorized|not authorized", re.I), NotAuthorized),
    (re.compile(r"no task yet|not found|not cancell?able", re.I), NotFound),
)


def _by_message(message: str, code: int | None) -> WiroError:
    """Return the refusal that a message describes.

    Code 0 is used for invalid requests and for faults, and an error may be a plain string. A message that does not
    describe an invalid request is a fault, which may be retried. Without a message and a code, it is open whether the
    call was executed.
    """
    if not message and code is None:
        return NoResponse("The vendor reports an error without a reason.")
    if code is None:
        if allowed := _allowed_tasks(message):
            return TooManyTasks(message, allowed)
        if kind := next((kind for pattern, kind in _MESSAGE_PATTERNS if pattern.search(message)), None):
            return kind(message)
    if _INVALID_WORDS.search(message) and not _FAULT_WORDS.search(message):
        return Invalid(message)
    return VendorFault(message)
