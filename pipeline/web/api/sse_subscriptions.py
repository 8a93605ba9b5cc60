"""Batches that somebody watches: one poller a process and batch, at most one read of Redis a second, however many look.

A page that watches holds a thread of the server. So only so many may, and the others are told to ask again instead.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from pipeline.errors import DailiesError, NoSuchBatch
from pipeline.shutdown import signal_safe_setter

POLL_S = 1.0
HEARTBEAT_S = 2.0
"""A page that was left is noticed when it is written to, so its place is free again after twice as long."""
_closing = threading.Event()

Read = Callable[[str], tuple[str, bool]]
"""batch id → (what watchers are told, whether that is the end)."""


class TooManySubscriptions(Exception):
    """No thread is left for another watcher."""


class SseSubscriptions:
    """Who watches what. Thread-safe."""

    def __init__(self, read: Read, most: int) -> None:
        self._read = read
        self._places = threading.BoundedSemaphore(most)
        self._changing = threading.Lock()
        self._watches: dict[str, _Watch] = {}

    def follow(self, batch_id: str) -> Subscription:
        """Begin to watch a batch. Raises TooManyWatchers, and what reading the batch raises."""
        if _closing.is_set() or not self._places.acquire(blocking=False):
            raise TooManySubscriptions
        try:
            watch = self._enter(batch_id)
        except BaseException:
            self._places.release()
            raise
        return Subscription(watch, lambda: self._leave(watch))

    def _enter(self, batch_id: str) -> _Watch:
        with self._changing:
            watch = self._watches.get(batch_id)
            if watch is None or watch.ended:
                watch = _Watch(batch_id, self._read)
                self._watches[batch_id] = watch
            watch.watchers += 1
            return watch

    def _leave(self, watch: _Watch) -> None:
        with self._changing:
            watch.watchers -= 1
            if watch.watchers == 0:
                watch.stop()
                if self._watches.get(watch.batch_id) is watch:
                    del self._watches[watch.batch_id]
        self._places.release()


class Subscription:
    """One who watches. Iterate for what there is to tell, None now and then where nothing is new; then close."""

    def __init__(self, watch: _Watch, leave: Callable[[], None]) -> None:
        self._watch = watch
        self._leave = leave
        self._left = threading.Lock()

    def __iter__(self) -> Iterator[str | None]:
        seen = 0
        while not self._watch.over(seen):
            seen, text = self._watch.next(seen)
            yield text

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come: the batch has ended, and not just this process."""
        return self._watch.ended

    def close(self) -> None:
        """Watch no more. Doing it twice changes nothing."""
        if self._left.acquire(blocking=False):
            self._leave()


class _Watch:
    """One batch, polled for all its watchers."""

    def __init__(self, batch_id: str, read: Read) -> None:
        self.batch_id = batch_id
        self.watchers = 0
        self._read = read
        self._changed = threading.Condition()
        self._text, self.ended = read(batch_id)
        self._version = 1
        if not self.ended:
            threading.Thread(target=self._poll, name=f"watch {batch_id}", daemon=True).start()

    def over(self, seen: int) -> bool:
        """Whether a watcher that has seen version `seen` has seen all there will be."""
        with self._changed:
            return (self.ended and seen == self._version) or _closing.is_set()

    def next(self, seen: int) -> tuple[int, str | None]:
        """What is newer than `seen`, waited for; None when nothing came for a while."""
        ends = time.monotonic() + HEARTBEAT_S
        with self._changed:
            while self._version == seen and not self.ended and not _closing.is_set() and time.monotonic() < ends:
                self._changed.wait(POLL_S)
            return (seen, None) if self._version == seen else (self._version, self._text)

    def stop(self) -> None:
        """Nobody watches any more."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _poll(self) -> None:
        while True:
            with self._changed:
                if self.ended or self._changed.wait_for(lambda: self.ended, POLL_S) or _closing.is_set():
                    self._changed.notify_all()
                    return
            try:
                text, ended = self._read(self.batch_id)
            except NoSuchBatch:
                self.stop()
                return
            except DailiesError:
                # Redis is away for a moment: watchers keep what they have, and hear a heartbeat.
                continue
            with self._changed:
                if text != self._text:
                    self._text = text
                    self._version += 1
                self.ended = self.ended or ended
                self._changed.notify_all()


def close_on_sigterm() -> None:
    """On SIGTERM let go of everybody who watches (they will come back), then do what was to be done on it before.

    For the main thread of a web process.
    """
    before = signal.getsignal(signal.SIGTERM)
    tell = signal_safe_setter(_closing)

    def end(number: int, frame: FrameType | None) -> None:
        tell()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, end)
