"""The outbox: notifications about ended batches that are not delivered yet."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ledger import keys
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import set_aside
from pipeline.ledger.times import ms, seconds


@dataclass(frozen=True)
class Delivery:
    """A leased notification about `revision` of a batch's results. `attempts` includes this one."""

    batch_id: str
    revision: int
    attempts: int


@dataclass(frozen=True)
class Deliveries:
    """Leased notifications, and the seconds until the next one is due (None: there is none)."""

    due: list[Delivery]
    next_in_s: float | None


class Outbox:
    """Leases notifications for delivery. If a worker exits before it records the result, the lease expires.

    Thread-safe.
    """

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def has_pending(self) -> bool:
        """Return whether a notification waits, due or not."""
        return bool(self._redis.exists(keys.DELIVERIES))

    def claim(self, limit: int, *, lease_s: float) -> Deliveries:
        """Lease up to `limit` notifications that are due."""
        wait, rows = self._scripts.run("claim_deliveries", limit, ms(lease_s))
        deliveries = []
        for batch, revision, attempts in rows:
            if revision.isdecimal():
                deliveries.append(Delivery(batch, int(revision), attempts))
            else:
                set_aside(self._scripts, keys.DELIVERIES, batch, "Its revision is not a number.")
        return Deliveries(deliveries, seconds(wait))

    def complete(self, delivery: Delivery) -> bool:
        """Remove a notification. Returns False if the batch has ended again: that end has its own notification."""
        return bool(self._scripts.run("complete_delivery", delivery.batch_id, delivery.revision) == 1)

    def reschedule(self, delivery: Delivery, delay_s: float) -> bool:
        """Make a notification due in `delay_s`. Returns False if the batch has ended again."""
        args = (delivery.batch_id, delivery.revision, ms(delay_s))
        return bool(self._scripts.run("reschedule_delivery", *args) == 1)
