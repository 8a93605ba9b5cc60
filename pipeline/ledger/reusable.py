"""The index of outputs that were bought, for batches with `reuse: true`. If it is full, the oldest are removed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.chunks import chunked
from pipeline.domain.states import ItemState
from pipeline.ledger.decoding import source
from pipeline.ledger.keys import REUSABLE
from pipeline.ledger.records import PollLease, RequeueResult, Reused, Source, SubmissionLease
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.times import ms

_CHUNK = 500


class ReusableStore:
    """Finds outputs that were bought before, and assigns them to items. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def counts(self, digests: Iterable[str]) -> dict[str, int]:
        """Return for each digest of a run how many items have bought it."""
        counts: dict[str, int] = {}
        for chunk in chunked(dict.fromkeys(digests), _CHUNK):
            lines = self._redis.hmget(REUSABLE, chunk)
            counts |= {key: len((text or "").splitlines()) for key, text in zip(chunk, lines, strict=True)}
        return counts

    def assign_to_pending(self, batch_id: str, digests: Sequence[tuple[str, str]]) -> list[Reused | None]:
        """Assign outputs to pending items, as (id, digest). Returns for each what it is to copy, None if nothing."""
        args = [part for item, digest in digests for part in (item, ItemState.PENDING, "", "", digest)]
        return self._assign(batch_id, args)

    def assign_to_leased(self, batch_id: str, leases: Sequence[SubmissionLease]) -> list[Reused | None]:
        """Assign outputs to leased items of a batch: their leases end. Returns as `assign_to_pending`."""
        rows = (
            (lease.run.item, ItemState.SUBMITTING, lease.run.attempt, lease.lease, lease.reuse_key) for lease in leases
        )
        return self._assign(batch_id, [part for row in rows for part in row])

    def run_anew(self, lease: PollLease) -> RequeueResult:
        """Make an item pending whose outputs to copy do not exist. The item that had them leaves the index."""
        run = lease.run
        return RequeueResult(self._scripts.run("run_anew", run.batch, run.item, run.attempt, lease.lease))

    def add(self, bought: Iterable[tuple[str, Source]], bought_at: datetime) -> None:
        """Add items, each with its digest, to the index."""
        at = ms(bought_at.timestamp())
        for chunk in chunked(bought, _CHUNK):
            rows = [(digest, one.item, one.task_id, json.dumps(one.outcome), at) for digest, one in chunk]
            self._scripts.run("index_outputs", *(part for row in rows for part in row))

    def remove(self, items: Iterable[tuple[str, str]]) -> None:
        """Remove items, as (digest, "batch/item"), from the index."""
        for chunk in chunked(items, _CHUNK):
            self._scripts.run("index_outputs", *(part for row in chunk for part in (*row, "", "", 0)))

    def _assign(self, batch_id: str, args: Sequence[object]) -> list[Reused | None]:
        rows = self._scripts.run("reuse_outputs", batch_id, *args)
        items, digests = args[::5], args[4::5]
        return [
            Reused(RunId(batch_id, str(item), int(attempt)), str(digest), source(*line.split("\t", 2)))
            if line
            else None
            for item, digest, (attempt, line) in zip(items, digests, rows, strict=True)
        ]
