"""How the vendor refuses a request: mostly HTTP 200 with an error code. The sentences are the API doc's."""

from __future__ import annotations

VALIDATION = 0
NOT_FOUND = 1
TOO_MANY_TASKS = 96
INSUFFICIENT_BALANCE = 97

INVALID_BODY = "Request parameters are invalid."
NO_PERMISSION = "You don't have any permission for this action."
SUSPENDED = "Your account has been suspended. Please contact support if you believe this is a mistake."
SPEND_LIMIT = "Your team has reached its spend limit."
"""The vendor documents the limit, not the sentence."""
MODEL_NOT_ALLOWED = "This model is not allowed in your team. Contact your team admin."
NO_TASK = "There is no task yet."


class Refusal(Exception):
    """The request is refused: HTTP 200, `result` false, one error with a code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BadImage(Exception):
    """A task's image is missing or unreadable. The message becomes the task's `debugerror`."""
