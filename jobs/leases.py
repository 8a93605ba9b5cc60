"""Renewal of the leases that this process holds.

A worker that is killed or paused stops renewing. Its items are due again after `lease_s`, and the ledger refuses what
it writes afterwards. A worker that was paused detects by its own clock that its leases have expired.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from pipeline.domain.callback_tokens import RunId
from pipeline.ledger.ledger import Ledger

log = structlog.get_logger()


class Leased(Protocol):
    """A run that a worker has claimed."""

    @property
    def run(self) -> RunId: ...

    @property
    def lease(self) -> str: ...


def run_fields(leased: Leased) -> dict[str, object]:
    """Return the fields that identify a run in a log line."""
    return {"batch": leased.run.batch, "item": leased.run.item, "attempt": leased.run.attempt}


class LeaseKeeper:
    """Renews every held lease three times within `lease_s` seconds. Thread-safe."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._held: dict[int, Leased] = {}
        self._expires_at: dict[int, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, leased: Leased, claimed_at: float) -> Iterator[None]:
        """Renew the lease of `leased` until the block ends. `claimed_at`: time.monotonic() before the claim."""
        with self._lock:
            self._held[id(leased)] = leased
            self._expires_at[id(leased)] = claimed_at + self._lease_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_periodically, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[id(leased)], self._expires_at[id(leased)]

    def is_valid(self, leased: Leased) -> bool:
        """Return whether the lease is held and cannot have expired."""
        return time.monotonic() < self._expires_at.get(id(leased), 0)

    def _renew_periodically(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._lease_s / 3):
            with self._lock:
                held = list(self._held.items())
            if held:
                self._renew(held)

    def _renew(self, held: list[tuple[int, Leased]]) -> None:
        requested_at = time.monotonic()
        try:
            renewed = self._ledger.runs.renew([(leased.run, leased.lease) for _, leased in held], lease_s=self._lease_s)
        except Exception as error:
            # Whatever it is: without this thread all leases would expire.
            log.warning("leases_not_renewed", leases=len(held), error=str(error))
            return
        with self._lock:
            for (key, _), is_ours in zip(held, renewed, strict=True):
                if is_ours and key in self._expires_at:
                    self._expires_at[key] = requested_at + self._lease_s
