"""How the vendor refuses a request: mostly HTTP 200 with an error code."""

from __future__ import annotations

VALIDATION = 0
NOT_FOUND = 1
TOO_MANY_TASKS = 96
INSUFFICIENT_BALANCE = 97


class Refusal(Exception):
    """The request is refused: HTTP 200, `result` false, one error with a code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BadImage(Exception):
    """A task's image is missing or unreadable. The message becomes the task's `debugerror`."""
