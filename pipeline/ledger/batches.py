"""Batches of the ledger: their configuration, status and budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal

from pipeline.domain.ids import is_batch_id
from pipeline.domain.model import BatchRow
from pipeline.domain.money import MAX_USD, from_pico, to_pico
from pipeline.domain.states import BatchState
from pipeline.errors import BatchArchived, DamagedRecord, InvalidBatchId, NoSuchBatch
from pipeline.ledger import keys
from pipeline.ledger.decoding import batch_row
from pipeline.ledger.keys import batch_key
from pipeline.ledger.records import BatchBudget, BatchConfig, SubmissionRow
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import NOT_DECODED, valid_batch_ids
from pipeline.ledger.times import ms


class BatchStore:
    """Reads and changes whole batches. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def open(
        self, row: BatchRow, config: BatchConfig, *, max_active: int, budget_usd: Decimal | None, manifest_digest: str
    ) -> bool:
        """Create a batch, once. `max_active` 0: no limit. Returns False if the id exists.

        A submission that was cancelled before it was accepted makes room for this one.
        Raises InvalidBatchId, AmountTooLarge.
        """
        if not is_batch_id(row.id):
            raise InvalidBatchId(row.id)
        fields: dict[str, object] = {
            "name": row.name,
            "status": row.status,
            "output": row.output,
            "trigger": row.trigger,
            "revision": row.revision,
            "total": 0,
            "expected": row.total,
            "open": 0,
            "asked": manifest_digest,
            **batch_fields(config, max_active=max_active, budget_usd=budget_usd),
        }
        args = [part for pair in fields.items() for part in pair]
        return bool(self._scripts.run("open_batch", row.id, *args) == 1)

    def manifest_digest(self, batch_id: str) -> str | None:
        """Return the digest of the manifest that the batch was created with; None if there is no such batch."""
        digest: str | None = self._redis.hget(batch_key(batch_id), "asked")
        return digest

    def submission(self, batch_id: str) -> SubmissionRow | None:
        """Return how far the submission of a batch is; None if there is no such batch."""
        digest, status, accepted, reason = self._redis.hmget(
            batch_key(batch_id), "asked", "status", "accepted", "reason"
        )
        if status is None:
            return None
        is_cancelled = status == BatchState.CANCELLED and not accepted
        return SubmissionRow(digest or "", bool(accepted), reason or "" if is_cancelled else None)

    def record_attempt(self, batch_id: str) -> None:
        """Record that a submission goes on that was interrupted: `cancel_submission` counts from now."""
        second, microsecond = self._redis.time()
        self._redis.hset(batch_key(batch_id), "submitted", int(second * 1000 + microsecond / 1000))

    def accept(self, batch_id: str, manifest_digest: str = "") -> bool:
        """Record that the manifest and all inputs are on S3.

        Returns False if the batch has another digest than `manifest_digest` ('': any), or its submission was cancelled.
        """
        return bool(self._scripts.run("accept_batch", batch_id, manifest_digest) == 1)

    def cancel_submission(self, batch_id: str, reason: str, *, min_age_s: float = 0) -> bool:
        """End a batch as cancelled whose submission was not completed: nothing of it was posted.

        `min_age_s`: only if the last attempt to submit it is older. Returns whether it was cancelled.
        """
        return bool(self._scripts.run("cancel_submission", batch_id, reason, ms(min_age_s)) == 1)

    def is_accepted(self, batch_id: str) -> bool:
        """Return whether `accept` was called."""
        return bool(self._redis.hexists(batch_key(batch_id), "accepted"))

    def is_loaded(self, batch_id: str) -> bool:
        """Return whether all items are on the ledger."""
        return bool(self._redis.hexists(batch_key(batch_id), "loaded"))

    def has_ended(self, batch_id: str) -> bool:
        """Return whether all items have ended."""
        return bool(self._redis.hget(batch_key(batch_id), "open") == "0")

    def open_for_s(self, batch_id: str) -> float:
        """Return the seconds since the batch was created or opened again, by the server's clock. Raises NoSuchBatch."""
        created, reopened = self._redis.hmget(batch_key(batch_id), "created", "reopened")
        if created is None:
            raise NoSuchBatch(batch_id)
        second, microsecond = self._redis.time()
        return float(second + microsecond / 1e6 - int(reopened or created) / 1000)

    def start(self, batch_id: str, *, price_usd: Decimal, max_failures: int) -> None:
        """Start a batch whose items are loaded. `price_usd` of one run; 0 if it is not known."""
        self._scripts.run("start_batch", batch_id, to_pico(min(price_usd, MAX_USD)), max_failures)

    def get(self, batch_id: str) -> BatchRow:
        """Return a batch with its counts. Raises NoSuchBatch."""
        fields = self._redis.hgetall(batch_key(batch_id))
        if not fields:
            raise NoSuchBatch(batch_id)
        return batch_row(batch_id, fields)

    def open_ids(self) -> list[str]:
        """Return the ids of batches whose results are not written yet."""
        return valid_batch_ids(self._scripts, keys.OPEN_BATCHES, self._redis.zrange(keys.OPEN_BATCHES, 0, -1))

    def config(self, batch_id: str) -> BatchConfig:
        """Return what the items of a batch share. Raises NoSuchBatch, BatchArchived, DamagedRecord."""
        names = ("plan", "output", "archived", "defaults")
        text, output, archived, defaults = self._redis.hmget(batch_key(batch_id), names)
        if text is None:
            raise NoSuchBatch(batch_id)
        if archived is not None:
            raise BatchArchived(batch_id, output or "")
        try:
            return BatchConfig(**json.loads(text), output=output, defaults=json.loads(defaults or "{}"))
        except NOT_DECODED as error:
            raise DamagedRecord(f"The configuration of batch {batch_id!r} in Redis is damaged: {error}") from None

    def budget(self, batch_id: str) -> BatchBudget:
        """Return the budget of a batch and the highest price of one run. Raises NoSuchBatch."""
        names = ("budget", "price", "price_max", "overrun", "created")
        budget, price, item_price, overrun, created = self._redis.hmget(batch_key(batch_id), names)
        if created is None:
            raise NoSuchBatch(batch_id)
        own_price = int(item_price or 0)
        highest = max(int(price or 0), own_price + int(overrun or 0) if own_price else 0)
        return BatchBudget(from_pico(budget) if budget else None, from_pico(highest) if highest else None)

    def set_status(self, batch_id: str, to: BatchState, *, among: Sequence[BatchState], reason: str = "") -> bool:
        """Change the status of a batch if it is one of `among`. Returns whether it changed. Raises NoSuchBatch."""
        changed = self._scripts.run("set_status", batch_id, to, reason, *among)
        if changed < 0:
            raise NoSuchBatch(batch_id)
        return bool(changed == 1)

    def pause(self, batch_id: str) -> None:
        """Stop submissions of a running batch. Raises NoSuchBatch."""
        self.set_status(batch_id, BatchState.PAUSED, among=[BatchState.RUNNING], reason="Paused by hand.")

    def resume(self, batch_id: str) -> None:
        """Continue a paused batch. Raises NoSuchBatch."""
        self.set_status(batch_id, BatchState.RUNNING, among=[BatchState.PAUSED])


def batch_fields(config: BatchConfig, *, max_active: int, budget_usd: Decimal | None) -> dict[str, object]:
    """Return the fields of a batch's hash that its manifest determines. Raises AmountTooLarge."""
    fields: dict[str, object] = {
        "plan": _config_text(config),
        "defaults": json.dumps(dict(config.defaults)),
        "max_active": max_active,
    }
    if budget_usd is not None:
        fields["budget"] = to_pico(budget_usd)
    return fields


def _config_text(config: BatchConfig) -> str:
    fields = asdict(config)
    del fields["output"], fields["defaults"]
    # During an upgrade, processes of the version before read this: they accept no other fields than theirs.
    if config.image_kind == BatchConfig.image_kind:
        del fields["image_kind"]
    if not config.reuse:
        del fields["reuse"]
    return json.dumps(fields)
