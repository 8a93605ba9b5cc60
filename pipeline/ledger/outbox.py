"""Notices of the ledger: batches that have ended and whose `notify` address has not been told yet.

notices           zset  batch id → when it is to be told (ms)
batch:{id}        fields notice (the revision that is told) and notice_tries
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ledger.keys import PREFIX
from pipeline.ledger.records import ms, seconds
from pipeline.ledger.scripts import ScriptRunner


@dataclass(frozen=True)
class Delivery:
    """One that is ours to tell for a while. `tries` counts this one."""

    batch_id: str
    revision: int
    tries: int


@dataclass(frozen=True)
class Deliveries:
    """What is to be told, and in how many seconds the next is (None: there is none)."""

    due: list[Delivery]
    next_in_s: float | None


class Outbox:
    """Claim, then tell, then settle or put off: a worker that dies in between is followed by another."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def has_pending(self) -> bool:
        """Whether anybody is to be told anything, now or later."""
        return bool(self._redis.exists(f"{PREFIX}notices"))

    def claim(self, limit: int, *, lease_s: float) -> Deliveries:
        """Claim what is to be told now."""
        wait, claimed = self._scripts.run("claim_notices", limit, ms(lease_s))
        return Deliveries([Delivery(batch, int(revision), tries) for batch, revision, tries in claimed], seconds(wait))

    def complete(self, delivery: Delivery) -> bool:
        """It was told, or given up. False when the batch has ended anew meanwhile, and that is to be told."""
        return bool(self._scripts.run("settle_notice", delivery.batch_id, delivery.revision, -1) == 1)

    def reschedule(self, delivery: Delivery, delay_s: float) -> bool:
        """Try again in `delay_s`."""
        return bool(self._scripts.run("settle_notice", delivery.batch_id, delivery.revision, ms(delay_s)) == 1)
