"""Limits the guesses of tokens. Right tokens are never limited or delayed."""

from __future__ import annotations

import time
from threading import BoundedSemaphore
from typing import NoReturn

import structlog
from flask import request
from werkzeug.exceptions import TooManyRequests, Unauthorized

from pipeline.domain.formatting import duration
from pipeline.errors import Unreachable
from pipeline.ledger.login_attempts import LoginAttempts

log = structlog.get_logger()

DELAY_S = 0.3
_BUSY_WAIT_S = 1
"""Retry-After, in seconds, while as many wrong tokens as allowed wait for their response."""


class FailureLimit:
    """Counts and delays wrong tokens. At most `max_waiting` threads do so at the same time. Thread-safe."""

    def __init__(self, attempts: LoginAttempts, max_waiting: int) -> None:
        self._attempts = attempts
        self._slots = BoundedSemaphore(max_waiting)

    def record(self, token: str) -> int:
        """Count the wrong `token` of this request. Return how many seconds its client has to wait, for a 429.

        0: the client may try again at once. That is returned after a delay of DELAY_S.
        """
        wait_s = self._record(token)
        if wait_s:
            log.warning("login_limited", address=request.remote_addr)
        return wait_s

    def refuse(self, token: str, message: str) -> NoReturn:
        """Count the wrong `token` of this request. Raises Unauthorized with `message`, or TooManyRequests."""
        if wait_s := self.record(token):
            raise TooManyRequests(too_many(wait_s), retry_after=wait_s)
        raise Unauthorized(message)

    def _record(self, token: str) -> int:
        if not self._slots.acquire(blocking=False):
            return _BUSY_WAIT_S
        try:
            wait_s = self._attempts.record_failure(request.remote_addr or "", token)
            if not wait_s:
                time.sleep(DELAY_S)
        except Unreachable:
            # Nothing is counted without Redis. The slots still bound how many tokens can be tried in a second.
            time.sleep(DELAY_S)
            return 0
        finally:
            self._slots.release()
        return wait_s


def too_many(wait_s: int) -> str:
    """Return the message for a client that has to wait `wait_s` seconds."""
    return f"Too many wrong tokens. Try again in {duration(wait_s)}."
