"""Exceptions of the vendor's client, named after what the caller can do. Pure."""

from __future__ import annotations

from pipeline.errors import DailiesError

MAX_MESSAGE_CHARS = 500


class WiroError(DailiesError):
    """The vendor refused a call or failed. `retryable`: the same call can be repeated and buys nothing twice.

    `retry_after_s`: seconds that the vendor requires to wait, None if it names none.
    """

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


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


class InsufficientBalance(AccountRefused):
    """The balance of the account is too low. Add funds at the vendor, then run `dailies resume`."""


class NotAuthorized(AccountRefused):
    """The vendor rejected the key, the signature or the IP address. Check WIRO_API_KEY and WIRO_API_SECRET."""


class ModelNotAllowed(WiroError):
    """The team of the project may not run this model. Allow it at the vendor, or use another model."""


class NoSuchEndpoint(WiroError):
    """The vendor has no such endpoint. Check WIRO_API_URL and the name of the model."""


class RateLimited(WiroError):
    """The vendor allows fewer requests."""

    retryable = True


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


def printable_message(text: str) -> str:
    """Return the vendor's text as one line without control characters, at most MAX_MESSAGE_CHARS."""
    line = " ".join(text[: 4 * MAX_MESSAGE_CHARS].split())
    line = "".join(letter if letter.isprintable() else "�" for letter in line)
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"
