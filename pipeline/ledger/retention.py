"""Archived batches: their items have left Redis, and a row of a few hundred bytes is left.

The steps: `find` → `begin` (the row is reduced) → `drop` until no item is left → `complete`. Each is one script that
can be repeated after a crash. The time of `begin` identifies an archiving: a process that goes on with an earlier one
changes nothing. A batch is restored by `begin_restore`, `ItemStore.restore` and `complete_restore`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.domain.money import MAX_USD, to_pico
from pipeline.errors import NoSuchBatch
from pipeline.ledger import keys
from pipeline.ledger.batches import batch_fields
from pipeline.ledger.keys import batch_key
from pipeline.ledger.records import BatchConfig
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import valid_batch_ids
from pipeline.ledger.times import moment_ms, ms, server_time

RESTORE_TIMEOUT_S = 900.0
"""A restoration that takes longer was interrupted: the batch is archived again."""
MAX_SPEND_DAYS = 400
_MAX_SCANNED = 1000
_CHUNK = 500
_MAX_TEXT = 300
_ANY_TIME_MS = 2**52


@dataclass(frozen=True)
class ArchiveState:
    """How far a batch has left Redis. `archived`: what identifies the archiving, '' if the batch is not archived.

    `is_complete`: nothing but its row is left. `is_restoring`: its items are being loaded again. `is_forgotten`: its
    row is dropped next.
    """

    archived: str
    is_complete: bool
    is_restoring: bool
    is_forgotten: bool


@dataclass(frozen=True)
class ArchiveRow:
    """What is left of a batch, beside the fields that stay as they are. `counts` is {item state: number}."""

    model: str
    counts: Mapping[str, int]
    total: int
    cost_usd: Decimal
    reason: str | None
    overcharge: str | None


class RetentionStore:
    """Archives and restores batches. Thread-safe. Every method may raise Unreachable."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def find(self, keep_s: float | None) -> list[str]:
        """Return batches to archive among the next thousand: they ended `keep_s` ago (None: they are kept forever).

        Batches whose archiving or restoration was interrupted are among them.
        """
        keep_ms = -1 if keep_s is None else ms(keep_s)
        found = self._scripts.run("find_ended", keep_ms, ms(RESTORE_TIMEOUT_S), _MAX_SCANNED)
        return valid_batch_ids(self._scripts, keys.BATCHES, found)

    def state(self, batch_id: str) -> ArchiveState:
        """Return how far a batch has left Redis. Raises NoSuchBatch."""
        created, archived, archiving, restoring, forgotten = self._redis.hmget(
            batch_key(batch_id), "created", "archived", "archiving", "restoring", "forgotten"
        )
        if created is None:
            raise NoSuchBatch(batch_id)
        return ArchiveState(archived or "", archiving is None, restoring is not None, forgotten is not None)

    def is_archived(self, batch_id: str, archived: str) -> bool:
        """Return whether the batch is archived since `archived`: it was not restored, and has not run again."""
        return bool(self._redis.hget(batch_key(batch_id), "archived") == archived)

    def begin(
        self,
        batch_id: str,
        row: ArchiveRow,
        *,
        revision: int,
        keep_s: float | None,
        undo: bool = False,
        forget: bool = False,
    ) -> str:
        """Reduce a batch to its row. Return what identifies the archiving; '' if the batch has changed meanwhile.

        `revision`: that of the results on S3. `keep_s`: how long ago it must have ended, None: it does not matter.
        `undo`: its restoration was interrupted. `forget`: its row is dropped, too, and its journal stays.
        """
        before = _ANY_TIME_MS if keep_s is None else moment_ms(server_time(self._redis)) - ms(keep_s)
        fields: dict[str, object] = {
            "plan": json.dumps({"model": row.model}),
            **({"forgotten": 1} if forget else {}),
            "total": row.total,
            "cost": to_pico(min(row.cost_usd, MAX_USD)),
            **{f"n:{state}": number for state, number in row.counts.items() if number},
            **{name: text[:_MAX_TEXT] for name, text in _texts(row)},
        }
        args = [part for pair in fields.items() for part in pair]
        return str(self._scripts.run("begin_archive", batch_id, revision, before, int(undo), *args))

    def drop(self, batch_id: str, archived: str) -> bool:
        """Drop the items of an archived batch, in steps. Return False if it was restored or forgotten meanwhile."""
        while (left := self._scripts.run("drop_items", batch_id, archived, _CHUNK)) > 0:
            pass
        return bool(left == 0)

    def complete(self, batch_id: str, archived: str) -> bool:
        """Record that nothing but the row is left. Return False if it was recorded, or the batch was restored."""
        return bool(self._scripts.run("complete_archive", batch_id, archived) == 1)

    def defer(self, batch_id: str, delay_s: float) -> None:
        """Count a batch that could not be archived; `find` returns it again after `delay_s`."""
        self._scripts.run("defer_archive", batch_id, ms(delay_s))

    def begin_restore(
        self, batch_id: str, archived: str, config: BatchConfig, *, total: int, max_active: int, budget: Decimal | None
    ) -> bool:
        """Prepare an archived batch for its items, of which none is left. Return False if it is not archived so."""
        fields = {"expected": total, **batch_fields(config, max_active=max_active, budget_usd=budget)}
        args = [part for pair in fields.items() for part in pair]
        return bool(self._scripts.run("begin_restore", batch_id, archived, *args) == 1)

    def complete_restore(self, batch_id: str, *, price_usd: Decimal, max_failures: int) -> bool:
        """Record that all items are on the ledger. Return False if the batch was archived meanwhile."""
        args = (to_pico(min(price_usd, MAX_USD)), max_failures)
        return bool(self._scripts.run("complete_restore", batch_id, *args) >= 0)

    def forget(self, batch_id: str, archived: str) -> bool:
        """Delete the row of an archived batch. Return False if it was restored meanwhile."""
        return bool(self._scripts.run("forget_batch", batch_id, archived) == 1)

    def trim_spend(self) -> None:
        """Add up the charges of days that no page shows."""
        self._scripts.run("trim_spend", MAX_SPEND_DAYS)


def _texts(row: ArchiveRow) -> list[tuple[str, Any]]:
    texts = {"reason": row.reason, "overcharge": row.overcharge}
    return [(name, text) for name, text in texts.items() if text]
