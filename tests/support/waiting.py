"""What the fixture `wait_for` is, for tests that name it."""

from __future__ import annotations

from collections.abc import Callable

WaitFor = Callable[..., None]
