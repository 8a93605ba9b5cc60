"""Refusals of the vendor: status and body → exception. Pure.

Most refusals are HTTP 200 with `{"result": false, "errors": [{"code": 97, "message": "…"}]}`, others have a status.
The vendor's documentation contradicts itself, so both are used. Code 0 has many meanings and an error may be a plain
string, so the known sentences of the vendor decide (API doc).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.wiro.errors import (
    AccountRefused,
    InsufficientBalance,
    Invalid,
    ModelNotAllowed,
    NoResponse,
    NoSuchEndpoint,
    NotAuthorized,
    NotFound,
    RateLimited,
    TooManyTasks,
    VendorFault,
    WiroError,
    printable_message,
)

MAX_RETRY_AFTER_S = 300.0
_MAX_ERRORS = 100
_NOT_FOUND, _TOO_MANY_TASKS, _INSUFFICIENT_BALANCE, _NOT_SIGNED_IN, _BAD_TOKEN = 1, 96, 97, 98, 99

_NAME_IN_BRACKETS = re.compile(r"\[[^\[\]]*\]")
_ALLOWED_TASKS = re.compile(r"up to (\d{1,6}) (?:\w+ )?tasks?\b", re.I)
_ACCOUNT_SENTENCES: tuple[tuple[re.Pattern[str], type[WiroError]], ...] = (
    (re.compile(r"^your account has been suspended", re.I), AccountRefused),
    (re.compile(r"^you (don.?t|do not) have any permission", re.I), AccountRefused),
    (re.compile(r"\bspend(ing)? limit\b", re.I), AccountRefused),
    (re.compile(r"^this model is not (allowed in|available for) your team", re.I), ModelNotAllowed),
    (re.compile(r"^project authorization is not (founded|found|valid)", re.I), NotAuthorized),
    (re.compile(r"^project requires signature authentication", re.I), NotAuthorized),
    (re.compile(r"^requested ip \S* ?is not allowed", re.I), NotAuthorized),
    (re.compile(r"^invalid (api key|signature|nonce)", re.I), NotAuthorized),
    (re.compile(r"^insufficient (balance|funds|credit)", re.I), InsufficientBalance),
)
_CALL_SENTENCES: tuple[tuple[re.Pattern[str], type[WiroError]], ...] = (
    (re.compile(r"\brequired$", re.I), Invalid),
    (re.compile(r"^missing (required )?parameter\b", re.I), Invalid),
    (re.compile(r"\bmust be\b", re.I), Invalid),
    (re.compile(r"^request parameters are invalid", re.I), Invalid),
    (re.compile(r"^your model name should\b|^this name is not allowed|\bname is already in use$", re.I), Invalid),
    (re.compile(r"^too many requests", re.I), RateLimited),
    (re.compile(r"^there is no task yet|^tool-not-accessible|^slug-owner-project-not-exist", re.I), NotFound),
    (re.compile(r"^task is not (in a )?cancell?able|^task could not be killed", re.I), NotFound),
)


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
        return _by_body(code, message) if is_refusal(document) else None
    text = f"HTTP {status}: {message}" if message else f"The vendor answers HTTP {status}."
    wait_s = retry_after_s(headers, now)
    if code not in (_TOO_MANY_TASKS, _INSUFFICIENT_BALANCE):
        if error := _by_sentence(_ACCOUNT_SENTENCES, message, text):
            return error
        if status in (401, 403):
            return NotAuthorized(text)
        if status == 429:
            return RateLimited(text, wait_s)
    return _by_code(code, message) or _by_status(status, document, message, text, wait_s)


def is_refusal(document: Mapping[str, Any]) -> bool:
    """Return whether the body states that the call was not executed."""
    result = document.get("result")
    if result is None:
        return bool(document.get("errors"))
    return result in (False, 0, "false", "False", "0")


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


def _by_body(code: int | None, message: str) -> WiroError:
    """Return the refusal in a body with HTTP 200. What no sentence explains is a fault, which may be retried."""
    if error := _by_code(code, message):
        return error
    if not message and code is None:
        return NoResponse("The vendor reports an error without a reason.")
    return _by_message(message, message) or VendorFault(message)


def _by_code(code: int | None, message: str) -> WiroError | None:
    """Return the refusal of a code that has one meaning with any status."""
    if code == _TOO_MANY_TASKS:
        return TooManyTasks(message, _allowed_tasks(message))
    if code == _INSUFFICIENT_BALANCE:
        return InsufficientBalance(message)
    if code in (_NOT_SIGNED_IN, _BAD_TOKEN):
        return NotAuthorized(message)
    if code == _NOT_FOUND:
        return _by_sentence(_ACCOUNT_SENTENCES, message, message) or NotFound(message)
    return None


def _by_message(message: str, text: str) -> WiroError | None:
    """Return the refusal that a known sentence of the vendor describes. `text` becomes its message."""
    if allowed := _allowed_tasks(message):
        return TooManyTasks(text, allowed)
    return _by_sentence(_ACCOUNT_SENTENCES + _CALL_SENTENCES, message, text)


def _by_sentence(
    sentences: tuple[tuple[re.Pattern[str], type[WiroError]], ...], message: str, text: str
) -> WiroError | None:
    # The name of a parameter is chosen by the author of a model and explains nothing.
    sentence = " ".join(_NAME_IN_BRACKETS.sub(" ", message).split()).rstrip(" .!")
    return next((kind(text) for pattern, kind in sentences if pattern.search(sentence)), None)


def _allowed_tasks(message: str) -> int | None:
    match = _ALLOWED_TASKS.search(message)
    return int(match[1]) if match and int(match[1]) > 0 else None


def _by_status(
    status: int, document: Mapping[str, Any] | None, message: str, text: str, wait_s: float | None
) -> WiroError:
    if status == 303:
        # The request was executed, and its result is elsewhere (RFC 9110).
        return NoResponse(text)
    if status in (404, 405) or 300 <= status < 400:
        return NoSuchEndpoint(f"{text} Check WIRO_API_URL and the name of the model.")
    if status in (408, 425):
        return VendorFault(text, wait_s)
    if 400 <= status < 500:
        return _by_message(message, text) or Invalid(text)
    return VendorFault(text, wait_s) if _was_not_executed(status, document) else NoResponse(text)


def _was_not_executed(status: int, document: Mapping[str, Any] | None) -> bool:
    """Return whether a server error proves that the call was not executed.

    A 502 or 504 of a proxy does not: the vendor may have received the request. A 502 with the vendor's own refusal in
    its body does. 521, 522 and 523 are Cloudflare's for a vendor that it could not reach.
    """
    return status in (500, 503, 521, 522, 523) or (status == 502 and document is not None and is_refusal(document))
