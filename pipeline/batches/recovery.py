"""Recovery: rebuild the ledger of a batch from S3, after Redis was lost or the batch was archived.

No run is paid twice. A run whose task token is in the journal is polled. A run that was about to be posted, and whose
response is not in the journal, becomes `unknown`. An item without a run becomes pending.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, Field, ValidationError

from pipeline.batches.archive_check import check_results
from pipeline.batches.history import BatchHistory, ended_items, read_history
from pipeline.batches.history_schema import MAX_REVISION
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.preview_requests import PreviewRequests
from pipeline.batches.pricing import BatchEstimate, start_price
from pipeline.batches.stored_manifest import MANIFEST, parse_stored, stored_manifest
from pipeline.batches.stored_rows import stored_rows
from pipeline.batches.submission import Submission
from pipeline.domain.ids import is_batch_id
from pipeline.domain.model import BatchRow, Manifest
from pipeline.domain.results import LINES, RESULTS
from pipeline.domain.retry_policy import Tolerance
from pipeline.domain.s3_names import is_object_uri
from pipeline.domain.states import Stop
from pipeline.errors import (
    BatchArchived,
    DamagedRecord,
    InvalidArguments,
    InvalidBatchId,
    NoBatchOnS3,
    NoSuchBatch,
    ResultsDiffer,
    StorageError,
)
from pipeline.ledger.keys import batch_key
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.retention import ArchiveState
from pipeline.settings import Settings
from pipeline.storage import journal
from pipeline.storage.s3 import Storage, join

_MAX_RESULTS_BYTES = 2**30
_MAX_SHOWN = 200
_MAX_REPORTED = 20

log = structlog.get_logger()


class _Results(BaseModel):
    """What a recovery reads of results.json."""

    revision: Annotated[int, Field(ge=0, le=MAX_REVISION)] = 0
    trigger: Annotated[str, Field(max_length=200)] = "recover"
    reason: str | None = None
    total: int = 0
    items: list[dict[str, Any]] = []


class Recovery:
    """Rebuilds batches in the ledger. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        storage: Storage,
        models: ModelCatalog,
        submission: Submission,
        previews: PreviewRequests,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._storage = storage
        self._models = models
        self._submission = submission
        self._previews = previews

    def recover(self, uri: str) -> str:
        """Rebuild the batch in the folder `uri` (`s3://bucket/prefix/BATCH/`) and return its id.

        A batch whose items are in the ledger is not changed. A submission of its id that was not accepted is replaced.
        Raises InvalidArguments, InvalidBatchId, NoBatchOnS3, DamagedRecord, InvalidManifest, StorageError, Unreachable.
        """
        folder = uri if uri.endswith("/") else uri + "/"
        batch_id = self._batch_id(uri, folder)
        text = self._storage.get(join(folder, MANIFEST))
        if text is None:
            raise NoBatchOnS3(folder)
        if self._is_archived(batch_id) or self._ledger.batches.is_loaded(batch_id):
            known = self._ledger.batches.get(batch_id).output
            if known != folder:
                raise InvalidArguments(f"Batch {batch_id!r} is in Redis with its files at {known}, not at {folder}.")
            self.restore(batch_id)
        else:
            self._rebuild(batch_id, folder, parse_stored(text, join(folder, MANIFEST)))
        return batch_id

    def _batch_id(self, uri: str, folder: str) -> str:
        """Return the id of the batch in `folder`. `uri`: as it was given. Raises InvalidArguments, InvalidBatchId."""
        batch_id = folder.rstrip("/").rpartition("/")[2]
        if not is_object_uri(join(folder, MANIFEST)):
            raise InvalidArguments(
                f"{uri[:_MAX_SHOWN]!r} is not the folder of a batch on S3. "
                f"Write its address, such as {self._settings.output or 's3://bucket/prefix/'}{batch_id or 'BATCH'}/."
            )
        if not is_batch_id(batch_id):
            raise InvalidBatchId(batch_id)
        return batch_id

    def restore(self, batch_id: str) -> None:
        """Load the items of an archived batch again; it keeps its status, times and revision. Do nothing for others.

        Two calls at the same time are harmless. Raises NoSuchBatch, DamagedRecord, NoBatchOnS3, InvalidManifest,
        StorageError, Unreachable; the batch then stays archived.
        """
        if not self._is_archived(batch_id):
            return
        batch = self._ledger.batches.get(batch_id)
        manifest = stored_manifest(self._storage, batch.output)
        if manifest is None:
            raise NoBatchOnS3(batch.output)
        try:
            total = check_results(self._storage, batch, None).head.total
        except ResultsDiffer as error:
            raise DamagedRecord(f"{error} Put the version of the archived batch there.") from None
        # The journal, if some of it is left, has no more than the results, which were compared with the ledger.
        self._load(batch, manifest, total)
        log.info("batch_restored", batch=batch_id, items=total)
        # Those that are on S3 are only recorded.
        self._previews.request(batch_id)

    def _load(self, batch: BatchRow, manifest: Manifest, total: int) -> None:
        retention, config = self._ledger.retention, self._submission.batch_config(manifest, batch.output)
        state = self._state(batch.id)
        if state.archived:
            retention.drop(batch.id, state.archived)
            limits = manifest.limits
            retention.begin_restore(
                batch.id,
                state.archived,
                config,
                total=total,
                max_active=limits.max_active or 0,
                budget=limits.budget_usd,
            )
        rows = (row for _, row in stored_rows(self._storage, join(batch.output, LINES)))
        self._load_items(batch.id, manifest, ended_items(rows))
        price_usd = start_price(config, self._models, self._settings)
        tolerance = Tolerance.of(config.tolerated_failures, total)
        if not retention.complete_restore(batch.id, price_usd=price_usd, max_failures=tolerance.limit):
            # It was archived again, or forgotten.
            self._state(batch.id)
            raise BatchArchived(batch.id, batch.output)

    def _load_items(self, batch_id: str, manifest: Manifest, items: Iterable[tuple[str, dict[str, Any]]]) -> None:
        prices = zip(manifest.items, BatchEstimate.of(manifest, self._models).items, strict=True)
        self._ledger.items.restore(
            batch_id,
            items,
            {item.id: price.high_usd for item, price in prices if price},
            adopt_wait_s=self._settings.adopt_wait_s,
        )

    def _rebuild(self, batch_id: str, folder: str, manifest: Manifest) -> None:
        """Create a batch that Redis has lost, as the results and the journal record it."""
        results = _read_results(self._storage, folder)
        _check_journal(self._storage, folder, results)
        history = read_history(manifest, results.items, journal.entries(self._storage, folder))
        _check_results(folder, results, manifest, history)
        if history.ignored:
            log.warning("history_entries_ignored", batch=batch_id, number=history.ignored)
        # A submission that was not accepted has posted nothing. Its configuration may be another one than that on S3.
        self._ledger.batches.cancel_submission(batch_id, Stop.SUBMISSION)
        is_current = results.revision > 0 and history.matches_results(results.items)
        revision = results.revision + (0 if is_current else 1)
        self._submission.create(manifest, batch_id, folder, trigger=results.trigger, revision=revision)
        self._load_items(batch_id, manifest, history.restored_items())
        self._report_damage(batch_id, history)
        stopped = history.stopped or (results.reason if is_current and results.reason in set(Stop) else None)
        self._submission.start_batch(batch_id, stopped=stopped)

    def _report_damage(self, batch_id: str, history: BatchHistory) -> None:
        """Set aside the entries of the journal that could not be read: `status` and `doctor` name them."""
        if not history.damaged:
            return
        log.warning("journal_entries_damaged", batch=batch_id, number=len(history.damaged))
        for entry in history.damaged[:_MAX_REPORTED]:
            place = str(entry.get("place") or f"{entry.get('do')} {entry.get('item')}")[-_MAX_SHOWN:]
            reason = "It cannot be read, and may record a paid run: pending items that it may be about are unknown."
            self._ledger.set_aside.add(f"{batch_key(batch_id)}:journal", f"{batch_id} {place}", reason)

    def _is_archived(self, batch_id: str) -> bool:
        """Return whether the items of a batch are not in the ledger, or not all of them yet."""
        try:
            state = self._state(batch_id)
        except NoSuchBatch:
            return False
        return bool(state.archived) or state.is_restoring

    def _state(self, batch_id: str) -> ArchiveState:
        return self._ledger.retention.state(batch_id)


def _check_journal(storage: Storage, folder: str, results: _Results) -> None:
    """Raise StorageError if S3 lists no journal but there must be one: its runs would be paid for again.

    A batch of this version has an object in its journal from the start. That a listing is empty must fit the rest.
    """
    place = join(folder, journal.FOLDER)
    if next(storage.list(place), None) is not None:
        return
    reason = ""
    if any(item.get("attempts") for item in results.items):
        reason = "results.json names runs"
    elif next(storage.list(join(folder, MANIFEST)), None) is None:
        reason = "manifest.yaml, which exists, is not listed either"
    if reason:
        raise StorageError(
            f"S3 lists nothing below {place}, but {reason}. Runs that are paid may be missing, so nothing is "
            "recovered. Try again later; `dailies doctor` tests the server. If a person has deleted the journal and no "
            f"run of the batch is active, put an empty object {place}opened.jsonl there.",
            retryable=True,
        )


def _check_results(folder: str, results: _Results, manifest: Manifest, history: BatchHistory) -> None:
    """Raise DamagedRecord if the results lack what was deleted from the journal: those runs would be paid for again."""
    revision = history.archived_revision
    is_complete = len(results.items) == results.total and all(
        history.items[item.id].recorded for item in manifest.items
    )
    if revision and not (results.revision >= revision and is_complete):
        raise DamagedRecord(
            f"The batch was archived with revision {revision} of {join(folder, RESULTS)}: its journal was deleted, and "
            f"that file has what its items cost. It is missing, of an earlier revision ({results.revision}), or lacks "
            "items. Put the version of the archived batch there."
        )


def _read_results(storage: Storage, folder: str) -> _Results:
    """Return results.json; its revision is 0 if there is none. Raises DamagedRecord."""
    text = storage.get(join(folder, RESULTS), max_bytes=_MAX_RESULTS_BYTES)
    if text is None:
        return _Results()
    try:
        return _Results.model_validate_json(text)
    except ValidationError as error:
        raise DamagedRecord(
            f"{join(folder, RESULTS)} cannot be read ({error.errors()[0]['msg']}). Put an earlier version of it there. "
            "If the batch was never archived, you can also delete the file: the journal has it all."
        ) from None
