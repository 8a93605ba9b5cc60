"""The type of the fixture `wait_for`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class WaitFor(Protocol):
    """`support.processes.until`: waits for a condition and returns its value."""

    def __call__(self, condition: Callable[[], T], what: str, timeout_s: float = 300) -> T:
        """Wait until `condition` holds."""
