"""The type of the fixture `wait_for`."""

from __future__ import annotations

from collections.abc import Callable

WaitFor = Callable[..., None]
