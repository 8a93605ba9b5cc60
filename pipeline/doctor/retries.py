"""Requests of checks are repeated after a temporary error, so that one does not count as a problem."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.wiro.errors import WiroError

T = TypeVar("T")


def retried(call: Callable[[], T], delays_s: Sequence[float]) -> T:
    """Return what `call` returns. `delays_s`: the wait before each repetition after a temporary WiroError.

    Raises WiroError.
    """
    for delay_s in delays_s:
        try:
            return call()
        except WiroError as error:
            if not error.retryable:
                raise
            time.sleep(delay_s)
    return call()
