"""SIGTERM and Ctrl-C as an event that a loop waits for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType


def signal_safe_setter(event: threading.Event) -> Callable[[], None]:
    """What a signal's handler may call to have `event` set.

    A handler interrupts its thread anywhere, also where that holds the event's lock, and another signal the handler:
    setting the event itself would then wait for ever. A SimpleQueue bears it; a thread does the rest. The kernel does
    send several at once: one for each thread of a parent that was killed.
    """
    told: SimpleQueue[None] = SimpleQueue()

    def pass_on() -> None:
        told.get()
        event.set()

    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    return lambda: told.put(None)


@contextmanager
def shutdown_requested() -> Iterator[threading.Event]:
    """An event that is set by SIGTERM or SIGINT for as long as the block runs."""
    told = threading.Event()
    tell = signal_safe_setter(told)

    def handle(number: int, frame: FrameType | None) -> None:
        tell()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        tell()
