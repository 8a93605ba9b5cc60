"""SIGTERM and Ctrl-C as an event that a loop waits for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType


def signal_safe_setter(event: threading.Event) -> Callable[[], None]:
    """Return a function that sets `event` and may be called in a signal handler.

    A handler may interrupt code that holds the event's lock, and another signal may interrupt the handler: a direct
    `event.set()` would deadlock. SimpleQueue.put is reentrant, and a thread sets the event. Several signals at once
    are normal: the kernel sends one for each thread of a killed parent.
    """
    requests: SimpleQueue[None] = SimpleQueue()

    def set_when_requested() -> None:
        requests.get()
        event.set()

    threading.Thread(target=set_when_requested, name="signals", daemon=True).start()
    return lambda: requests.put(None)


@contextmanager
def shutdown_requested() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM or SIGINT sets while the block runs."""
    requested = threading.Event()
    set_requested = signal_safe_setter(requested)

    def handle(number: int, frame: FrameType | None) -> None:
        set_requested()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        set_requested()
