"""Retention: an ended batch leaves Redis after PIPELINE_KEEP_DAYS. Its row stays, and S3 has everything else.

The steps, each of which can be repeated after a crash: what S3 has is compared with the ledger; the batch is reduced to
its row; its items are dropped, in small parts; its journal is emptied. `recover` needs manifest and results only.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import structlog

from pipeline.batches.archive_check import ResultsCheck, check_results
from pipeline.batches.stored_manifest import MANIFEST, stored_manifest
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.errors import BatchArchived, BatchNotEnded, DailiesError, NoSuchBatch, ResultsDiffer, Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.retention import ArchiveRow
from pipeline.storage import journal
from pipeline.storage.s3 import Storage, join

_S_PER_DAY = 86_400
_RETRY_S = 600.0
"""After so many seconds a batch is tried again that could not be archived, because S3 failed."""
_CHECK_AGAIN_S = 6 * 3600.0
"""The same, because S3 lacks something that a person must put there, or after an unforeseen exception."""

log = structlog.get_logger()


class Retention:
    """Archives and forgets batches. Thread-safe. `keep_days`: after its end; 0: forever."""

    def __init__(self, ledger: Ledger, storage: Storage, keep_days: float) -> None:
        self._ledger = ledger
        self._storage = storage
        self._keep_s = keep_days * _S_PER_DAY if keep_days else None

    def find(self) -> list[str]:
        """Return some batches to archive. The next call looks at others."""
        return self._ledger.retention.find(self._keep_s)

    def archive(self, batch_id: str) -> None:
        """Archive a batch, or continue an interrupted archiving. A batch that cannot be archived now is kept.

        Raises Unreachable.
        """
        try:
            if self._archive(batch_id, self._keep_s or 0.0):
                log.info("batch_archived", batch=batch_id)
        except (NoSuchBatch, BatchArchived):
            # Another process has archived or forgotten it.
            return
        except Unreachable:
            raise
        except DailiesError as error:
            log.warning("batch_not_archived", batch=batch_id, error=str(error))
            self._defer(batch_id, _RETRY_S if error.retryable else _CHECK_AGAIN_S)
        except Exception:
            # The other batches go on.
            log.exception("batch_archiving_crashed", batch=batch_id)
            self._defer(batch_id, _CHECK_AGAIN_S)

    def forget(self, batch_id: str) -> None:
        """Drop an ended batch from Redis, with its row. What is on S3 stays, also its journal.

        Raises NoSuchBatch, BatchNotEnded, Unreachable.
        """
        retention, batch = self._ledger.retention, self._ledger.batches.get(batch_id)
        if batch.status not in BATCH_TERMINAL:
            raise _not_ended(batch)
        state = retention.state(batch_id)
        row = ArchiveRow(batch.model, batch.counts, batch.total, batch.cost_usd, batch.reason, batch.overcharge)
        archived = state.archived or retention.begin(
            batch_id, row, revision=batch.revision, keep_s=None, undo=state.is_restoring, forget=True
        )
        if not archived:
            raise BatchNotEnded(
                f"The results of batch {batch_id!r} are being written, or its notification is not delivered yet. "
                "Repeat the command later."
            )
        if not self._forget(batch_id, archived):
            raise BatchNotEnded(f"Batch {batch_id!r} was opened again meanwhile. Repeat the command after its end.")

    def _forget(self, batch_id: str, archived: str) -> bool:
        """Return whether the batch is forgotten by this call."""
        retention = self._ledger.retention
        is_forgotten = retention.drop(batch_id, archived) and retention.forget(batch_id, archived)
        if is_forgotten:
            log.info("batch_forgotten", batch=batch_id)
        return is_forgotten

    def _defer(self, batch_id: str, delay_s: float) -> None:
        self._ledger.retention.defer(batch_id, min(delay_s, self._keep_s or delay_s))

    def _archive(self, batch_id: str, keep_s: float) -> bool:
        """Return whether the batch is archived by this call."""
        retention = self._ledger.retention
        state = retention.state(batch_id)
        if state.is_forgotten:
            # `forget` was interrupted. What S3 has was not checked, so the journal stays.
            self._forget(batch_id, state.archived)
            return False
        archived = state.archived or self._begin(batch_id, keep_s)
        if not archived or not retention.drop(batch_id, archived):
            return False
        batch = self._ledger.batches.get(batch_id)
        may_delete = partial(retention.is_archived, batch_id, archived)
        if not journal.delete_entries(self._storage, batch.output, batch.revision, may_delete):
            return False
        return retention.complete(batch_id, archived)

    def _begin(self, batch_id: str, keep_s: float) -> str:
        """Check S3, then reduce the batch to its row. Return what identifies the archiving, '' if it changed."""
        retention, batch = self._ledger.retention, self._ledger.batches.get(batch_id)
        if batch.status not in BATCH_TERMINAL:
            raise _not_ended(batch)
        undo = retention.state(batch_id).is_restoring
        rows = None if undo else self._ledger.items.stream(batch_id)
        self._check_manifest(batch)
        results = check_results(self._storage, batch, rows)
        if results.is_outdated:
            self._ledger.finalization.rewrite(batch_id)
            raise ResultsDiffer(f"The results of batch {batch_id!r} are of an earlier version: they are written again.")
        return retention.begin(batch_id, _row(batch, results), revision=batch.revision, keep_s=keep_s, undo=undo)

    def _check_manifest(self, batch: BatchRow) -> None:
        if stored_manifest(self._storage, batch.output) is None:
            raise ResultsDiffer(f"{join(batch.output, MANIFEST)} does not exist.")


def _not_ended(batch: BatchRow) -> BatchNotEnded:
    return BatchNotEnded(
        f"Batch {batch.id!r} has not ended ({batch.status}). Wait for its end, or stop it: `dailies cancel {batch.id}`."
    )


def _row(batch: BatchRow, results: ResultsCheck) -> ArchiveRow:
    head = results.head
    return ArchiveRow(batch.model, head.counts, head.total, Decimal(head.cost_usd), batch.reason, batch.overcharge)
