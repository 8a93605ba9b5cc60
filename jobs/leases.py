"""Leases of what this process works on, renewed while it lives.

A worker that is killed or paused stops renewing: what it held is due again after `lease_s`, and what it writes
afterwards is refused. A worker that was paused sees by its own clock that its leases have run out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from pipeline.domain.callback_tokens import RunId
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger

log = structlog.get_logger()


class Leased(Protocol):
    """A claimed run."""

    @property
    def run(self) -> RunId: ...

    @property
    def lease(self) -> str: ...


class LeaseKeeper:
    """Renews every lease that is held, three times within `lease_s` seconds. Thread-safe."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._held: dict[int, Leased] = {}
        self._until: dict[int, float] = {}
        self._changing = threading.Lock()
        self._beat: threading.Thread | None = None

    @contextmanager
    def keep(self, leased: Leased, claimed_at: float) -> Iterator[None]:
        """Renew the lease of `held`, claimed at `claimed_at` (time.monotonic), until the block ends."""
        with self._changing:
            self._held[id(leased)] = leased
            self._until[id(leased)] = claimed_at + self._lease_s
            if self._beat is None:
                self._beat = threading.Thread(target=self._renew, name="leases", daemon=True)
                self._beat.start()
        try:
            yield
        finally:
            with self._changing:
                del self._held[id(leased)], self._until[id(leased)]

    def is_ours(self, leased: Leased) -> bool:
        """Whether the lease of something kept has surely not run out."""
        return time.monotonic() < self._until.get(id(leased), 0)

    def _renew(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._lease_s / 3):
            with self._changing:
                leased = list(self._held.items())
            if not leased:
                continue
            asked_at = time.monotonic()
            try:
                renewed = self._ledger.runs.renew(
                    [(thing.run, thing.lease) for _, thing in leased], lease_s=self._lease_s
                )
            except Unreachable as error:
                log.warning("leases_not_renewed", leased=len(leased), error=str(error))
                continue
            with self._changing:
                for (key, _), ours in zip(leased, renewed, strict=True):
                    if ours and key in self._until:
                        self._until[key] = asked_at + self._lease_s
