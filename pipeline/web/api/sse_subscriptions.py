"""Subscriptions to batches for server-sent events: one poller per process and batch, one read of Redis a second.

Each subscription occupies a request thread of the web process, so their number is limited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import structlog

from pipeline.errors import NoSuchBatch

log = structlog.get_logger()

POLL_S = 1.0
HEARTBEAT_S = 2.0
"""A closed connection is noticed by the second write after it was closed. Until then its slot is taken."""

Read = Callable[[str], tuple[str, bool]]
"""batch id → (the text to send, whether the batch has ended)."""


class TooManySubscriptions(Exception):
    """All slots for subscriptions are taken."""


class SseSubscriptions:
    """The subscriptions of this process. Thread-safe.

    `limit`: the number of slots. `shutdown`: all subscriptions end when it is set.
    """

    def __init__(self, read: Read, limit: int, shutdown: threading.Event) -> None:
        self._read = read
        self._shutdown = shutdown
        self._slots = threading.BoundedSemaphore(limit)
        self._lock = threading.Lock()
        self._pollers: dict[str, _Poller] = {}

    def follow(self, batch_id: str) -> Subscription:
        """Subscribe to a batch. Raises TooManySubscriptions, and what the first read of the batch raises."""
        if self._shutdown.is_set() or not self._slots.acquire(blocking=False):
            raise TooManySubscriptions
        try:
            poller = self._join(batch_id)
        except BaseException:
            self._slots.release()
            raise
        return Subscription(poller, lambda: self._leave(poller))

    def _join(self, batch_id: str) -> _Poller:
        with self._lock:
            poller = self._pollers.get(batch_id)
            if poller is None or poller.ended:
                poller = _Poller(batch_id, self._read, self._shutdown)
                self._pollers[batch_id] = poller
            poller.subscribers += 1
            return poller

    def _leave(self, poller: _Poller) -> None:
        with self._lock:
            poller.subscribers -= 1
            if poller.subscribers == 0:
                poller.stop()
                if self._pollers.get(poller.batch_id) is poller:
                    del self._pollers[poller.batch_id]
        self._slots.release()


class Subscription:
    """One subscriber. Iterate for the texts to send (None: send a heartbeat), then close."""

    def __init__(self, poller: _Poller, leave: Callable[[], None]) -> None:
        self._poller = poller
        self._leave = leave
        self._closed = threading.Lock()

    def __iter__(self) -> Iterator[str | None]:
        version = 0
        while not self._poller.is_finished(version):
            version, text = self._poller.wait_for_change(version)
            yield text

    @property
    def has_ended(self) -> bool:
        """Whether the batch has ended; False if only this process shuts down."""
        return self._poller.ended

    def close(self) -> None:
        """Free the slot. A second call has no effect."""
        if self._closed.acquire(blocking=False):
            self._leave()


class _Poller:
    """Polls one batch for all its subscribers."""

    def __init__(self, batch_id: str, read: Read, shutdown: threading.Event) -> None:
        self.batch_id = batch_id
        self.subscribers = 0
        self._read = read
        self._shutdown = shutdown
        self._changed = threading.Condition()
        self._text, self.ended = read(batch_id)
        self._version = 1
        if not self.ended:
            threading.Thread(target=self._poll, name=f"poll {batch_id}", daemon=True).start()

    def is_finished(self, version: int) -> bool:
        """Whether nothing follows after `version`."""
        with self._changed:
            return (self.ended and version == self._version) or self._shutdown.is_set()

    def wait_for_change(self, version: int) -> tuple[int, str | None]:
        """Wait for a newer version. Return (version, text); the text is None if none came for HEARTBEAT_S seconds."""
        deadline = time.monotonic() + HEARTBEAT_S
        with self._changed:
            while not self._is_over(version) and time.monotonic() < deadline:
                self._changed.wait(POLL_S)
            return (version, None) if self._version == version else (self._version, self._text)

    def stop(self) -> None:
        """End the poller's thread."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _is_over(self, version: int) -> bool:
        return self._version != version or self.ended or self._shutdown.is_set()

    def _poll(self) -> None:
        is_reported = False
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self.ended, POLL_S) or self._shutdown.is_set():
                    self._changed.notify_all()
                    return
            try:
                text, ended = self._read(self.batch_id)
            except NoSuchBatch:
                self.stop()
                return
            except Exception as error:
                # Redis is unavailable, or the record is damaged: subscribers keep the last text and get heartbeats.
                if not is_reported:
                    log.warning("batch_not_read", batch=self.batch_id, error=f"{type(error).__name__}: {error}")
                is_reported = True
                continue
            is_reported = False
            with self._changed:
                if text != self._text:
                    self._text = text
                    self._version += 1
                self.ended = self.ended or ended
                self._changed.notify_all()
