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

from pipeline.domain.callback_tokens import RunName
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger

log = structlog.get_logger()


class Held(Protocol):
    """A claimed run."""

    @property
    def run(self) -> RunName: ...

    @property
    def lease(self) -> str: ...


class LeaseKeeper:
    """Renews every lease that is held, three times within `lease_s` seconds. Thread-safe."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._held: dict[int, Held] = {}
        self._until: dict[int, float] = {}
        self._changing = threading.Lock()
        self._beat: threading.Thread | None = None

    @contextmanager
    def keep(self, held: Held, claimed_at: float) -> Iterator[None]:
        """Renew the lease of `held`, claimed at `claimed_at` (time.monotonic), until the block ends."""
        with self._changing:
            self._held[id(held)] = held
            self._until[id(held)] = claimed_at + self._lease_s
            if self._beat is None:
                self._beat = threading.Thread(target=self._renew, name="leases", daemon=True)
                self._beat.start()
        try:
            yield
        finally:
            with self._changing:
                del self._held[id(held)], self._until[id(held)]

    def is_ours(self, held: Held) -> bool:
        """Whether the lease of something kept has surely not run out."""
        return time.monotonic() < self._until.get(id(held), 0)

    def _renew(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._lease_s / 3):
            with self._changing:
                held = list(self._held.items())
            if not held:
                continue
            asked_at = time.monotonic()
            try:
                renewed = self._ledger.renew([(thing.run, thing.lease) for _, thing in held], lease_s=self._lease_s)
            except Unreachable as error:
                log.warning("leases_not_renewed", held=len(held), error=str(error))
                continue
            with self._changing:
                for (key, _), ours in zip(held, renewed, strict=True):
                    if ours and key in self._until:
                        self._until[key] = asked_at + self._lease_s
