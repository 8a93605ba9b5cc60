"""How the vendor says no, and how each way is told from status and body. Pure.

Most refusals come as HTTP 200 with `{"result": false, "errors": [{"code": 97, "message": "…"}]}`, others as a
status; the vendor's docs contradict each other, so both are looked at. `refusal` knows the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from pipeline.errors import DailiesError

MAX_RETRY_AFTER_S = 300.0
MAX_MESSAGE_CHARS = 500


class WiroError(DailiesError):
    """The vendor would not or could not.

    `retryable`: the same call may be made again later by itself, and pays for nothing twice.
    """

    retryable: ClassVar[bool] = False


class Invalid(WiroError):
    """The vendor finds the request wrong: a parameter is missing or out of range."""


class NotFound(WiroError):
    """The vendor knows no such model, task or file, or the task is not in a state for this."""


class TaskNotFound(NotFound):
    """The vendor knows no such task."""


class TooManyTasks(WiroError):
    """The account's balance allows no more tasks at a time. `allowed`: as many as it does, None when not said."""

    retryable = True

    def __init__(self, message: str = "", allowed: int | None = None) -> None:
        super().__init__(message)
        self.allowed = allowed


class InsufficientBalance(WiroError):
    """The account's balance is too low. Add funds at the vendor, then `dailies resume`."""


class NotAuthorized(WiroError):
    """The vendor does not accept our key, signature or address. Check WIRO_API_KEY and WIRO_API_SECRET."""


class NoSuchEndpoint(WiroError):
    """There is no such endpoint at the vendor. Check WIRO_API_URL and the model's name."""


class RateLimited(WiroError):
    """The vendor wants fewer requests. `retry_after_s`: how long to wait, None when not said."""

    retryable = True

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class VendorFault(WiroError):
    """Something went wrong at the vendor; nothing was done."""

    retryable = True


class NotSent(WiroError):
    """The request never reached the vendor."""

    retryable = True


class NoAnswer(WiroError):
    """The vendor's answer did not come or cannot be understood, to a call that may be made twice."""

    retryable = True


class AnswerLost(WiroError):
    """The answer to a Run did not come: the vendor may have taken it. It must not be posted again by itself."""


def refusal(
    status: int, headers: Mapping[str, str], document: Mapping[str, Any] | None, now: datetime
) -> WiroError | None:
    """What an answer refuses, None when it does not. `document`: its body, None when that is no JSON object.

    NoAnswer stands for an answer that leaves open whether the vendor has done what was asked.
    """
    code, message = _stated(document)
    if 200 <= status < 300:
        if document is None:
            return NoAnswer("The vendor's answer is not JSON.")
        return _by_code(code, message) or _by_words(message, code) if is_refusal(document) else None
    said = f"HTTP {status}: {message}" if message else f"The vendor answers HTTP {status}."
    if code not in (96, 97) and status in (401, 403, 429):
        return NotAuthorized(said) if status != 429 else RateLimited(said, retry_after_s(headers, now))
    return _by_code(code, message) or _by_status(status, document, code, message, said)


def is_refusal(document: Mapping[str, Any]) -> bool:
    """Whether the vendor itself says that it did not do what was asked."""
    result = document.get("result")
    if result is None:
        return bool(document.get("errors"))
    return result in (False, 0, "false", "False", "0")


def printable_message(text: str) -> str:
    """A text of the vendor's fit for a log or a page: one line, no control characters, bounded."""
    line = " ".join(text[: 4 * MAX_MESSAGE_CHARS].split())
    line = "".join(letter if letter.isprintable() else "�" for letter in line)
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long `Retry-After` asks to wait, in seconds or until a date: between 0 and five minutes."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return min(float(value), MAX_RETRY_AFTER_S)
    until = _date(value)
    if until is None:
        return None
    # By the vendor's clock where it tells it: ours may differ.
    return min(max((until - (_date(headers.get("Date", "")) or now)).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _stated(document: Mapping[str, Any] | None) -> tuple[int | None, str]:
    """Code and message of the first error that has a code, else of the first."""
    if document is None:
        return None, ""
    errors = document.get("errors") or document.get("error") or document.get("message") or []
    found = [_entry(entry) for entry in (errors[:100] if isinstance(errors, list) else [errors])]
    coded = [entry for entry in found if entry[0] is not None]
    return (coded or found or [(None, "")])[0]


def _entry(entry: object) -> tuple[int | None, str]:
    if not isinstance(entry, Mapping):
        return None, printable_message(entry) if isinstance(entry, str) else ""
    code, message = entry.get("code"), entry.get("message")
    known = isinstance(code, int | str) and re.fullmatch(r"\d{1,6}", str(code))
    return int(known[0]) if known else None, printable_message(message) if isinstance(message, str) else ""


def _by_code(code: int | None, message: str) -> WiroError | None:
    """What the code alone says, whatever the status."""
    if code == 96:
        return TooManyTasks(message, _allowed(message))
    if code == 97:
        return InsufficientBalance(message)
    if code in (98, 99):
        return NotAuthorized(message)
    return NotFound(message) if code == 1 else None


def _allowed(message: str) -> int | None:
    found = re.search(r"up to (\d{1,6}) (?:\w+ )?tasks?\b", message, re.I)
    return int(found[1]) if found and int(found[1]) > 0 else None


def _by_status(status: int, document: Mapping[str, Any] | None, code: int | None, message: str, said: str) -> WiroError:
    if status in (404, 405) or 300 <= status < 400:
        return NoSuchEndpoint(f"{said} Check WIRO_API_URL and the model's name.")
    if status in (408, 425):
        return VendorFault(said)
    if 400 <= status < 500:
        error = _by_words(message, code)
        return Invalid(said) if type(error) in (VendorFault, NoAnswer) and not _FAULT.search(message) else error
    return VendorFault(said) if _not_done(status, document) else NoAnswer(said)


def _not_done(status: int, document: Mapping[str, Any] | None) -> bool:
    """Whether a server error says that nothing was done.

    502 comes from a proxy whose vendor may have heard the request, unless the vendor itself speaks; 504 says that
    the vendor was asked and its answer not awaited. 521, 522 and 523 are Cloudflare's for not having reached it.
    """
    return status in (500, 503, 521, 522, 523) or (status == 502 and document is not None and is_refusal(document))


_FAULT = re.compile(
    r"server|internal|went wrong|try again|temporar|unavailable|time[d-]? ?out|overload|busy|maintenance", re.I
)
_WRONG = re.compile(
    r"\b(required|missing|invalid|must|out of range|not allowed|not supported|unsupported|cannot be|can not be|"
    r"exceeds?|too (long|short|large|big|small|many|few)|at (most|least)|should be|expected|malformed|wrong|"
    r"not valid|empty|greater than|less than|between|maximum|minimum|unknown|format)\b",
    re.I,
)
_WORDS: tuple[tuple[re.Pattern[str], type[WiroError]], ...] = (
    (re.compile(r"insufficient (balance|funds|credit)|not enough (balance|funds|credit)", re.I), InsufficientBalance),
    (re.compile(r"too many requests|rate limit", re.I), RateLimited),
    (re.compile(r"invalid (api key|signature|nonce)|unauthorized|not authorized", re.I), NotAuthorized),
    (re.compile(r"no task yet|not found|not cancell?able", re.I), NotFound),
)


def _by_words(message: str, code: int | None) -> WiroError:
    """Code 0 is both a wrong request and a fault of the server, and an error may be a mere string: words decide.

    What does not read as a wrong request is a fault, and may be tried again. Where nothing is said at all, nobody
    knows what was done.
    """
    if not message and code is None:
        return NoAnswer("The vendor says that something is wrong, but not what.")
    if code is None:
        if allowed := _allowed(message):
            return TooManyTasks(message, allowed)
        if kind := next((kind for words, kind in _WORDS if words.search(message)), None):
            return kind(message)
    if _WRONG.search(message) and not _FAULT.search(message):
        return Invalid(message)
    return VendorFault(message)
