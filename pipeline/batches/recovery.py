"""Recovery: rebuild the ledger of a batch from S3 after Redis was lost.

No run is paid twice. A run whose task token is in the journal is polled. A run that was about to be posted, and whose
response is not in the journal, becomes `unknown`. An item without a run becomes pending.
"""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from pydantic import BaseModel, Field, ValidationError

from pipeline.batches.history import BatchHistory, read_history
from pipeline.batches.pricing import BatchEstimate
from pipeline.batches.service import Service
from pipeline.batches.submission import MANIFEST, refuse_rows
from pipeline.domain.ids import is_batch_id
from pipeline.domain.results import RESULTS
from pipeline.domain.s3_names import is_object_uri
from pipeline.domain.states import Stop
from pipeline.errors import DamagedRecord, InvalidArguments, InvalidBatchId, NoBatchOnS3, StorageError
from pipeline.ledger.keys import batch_key
from pipeline.manifest import parser as manifests
from pipeline.storage import journal
from pipeline.storage.s3 import Storage, join

_MAX_RESULTS_BYTES = 2**30
_MAX_REVISION = 1_000_000
_MAX_SHOWN = 200
_MAX_REPORTED = 20

log = structlog.get_logger()


class _Results(BaseModel):
    """What a recovery reads of results.json."""

    revision: Annotated[int, Field(ge=0, le=_MAX_REVISION)] = 0
    trigger: Annotated[str, Field(max_length=200)] = "recover"
    items: list[dict[str, Any]] = []


def recover(service: Service, uri: str) -> str:
    """Rebuild the batch in the folder `uri` (`s3://bucket/prefix/BATCH/`) and return its id.

    A batch that is in the ledger is not changed. A submission of its id that was not accepted is replaced.
    Raises InvalidArguments, InvalidBatchId, NoBatchOnS3, DamagedRecord, InvalidManifest, StorageError, Unreachable.
    """
    folder = uri if uri.endswith("/") else uri + "/"
    batch_id = _batch_id(service, uri, folder)
    text = service.storage.get(join(folder, MANIFEST))
    if text is None:
        raise NoBatchOnS3(folder)
    if service.ledger.batches.is_loaded(batch_id):
        return batch_id
    manifest = manifests.parse(
        text, file=join(folder, MANIFEST), read_rows=refuse_rows, local_files=None, is_accepted=True
    )
    results = _read_results(service.storage, folder)
    _check_journal(service.storage, folder, results)
    history = read_history(manifest, results.items, journal.entries(service.storage, folder))
    if history.ignored:
        log.warning("history_entries_ignored", batch=batch_id, number=history.ignored)
    # A submission that was not accepted has posted nothing. Its configuration may be another one than that on S3.
    service.ledger.batches.cancel_submission(batch_id, Stop.SUBMISSION)
    is_current = results.revision > 0 and history.matches_results(results.items)
    service.submission.create(
        manifest,
        batch_id,
        folder,
        trigger=results.trigger,
        revision=results.revision + (0 if is_current else 1),
    )
    prices = zip(manifest.items, BatchEstimate.of(manifest, service.models).items, strict=True)
    service.ledger.items.restore(
        batch_id,
        history.restored_items(),
        {item.id: price.high_usd for item, price in prices if price},
        adopt_wait_s=service.settings.adopt_wait_s,
    )
    _report_damage(service, batch_id, history)
    for item_id, review in history.reviews.items():
        service.ledger.items.review(batch_id, item_id, review)
    service.submission.start_batch(batch_id, stopped=history.stopped)
    return batch_id


def _batch_id(service: Service, uri: str, folder: str) -> str:
    """Return the id of the batch in `folder`. `uri`: as it was given. Raises InvalidArguments, InvalidBatchId."""
    batch_id = folder.rstrip("/").rpartition("/")[2]
    if not is_object_uri(join(folder, MANIFEST)):
        raise InvalidArguments(
            f"{uri[:_MAX_SHOWN]!r} is not the folder of a batch on S3. "
            f"Write its address, such as {service.settings.output or 's3://bucket/prefix/'}{batch_id or 'BATCH'}/."
        )
    if not is_batch_id(batch_id):
        raise InvalidBatchId(batch_id)
    return batch_id


def _report_damage(service: Service, batch_id: str, history: BatchHistory) -> None:
    """Set aside the entries of the journal that could not be read: `status` and `doctor` name them."""
    if not history.damaged:
        return
    log.warning("journal_entries_damaged", batch=batch_id, number=len(history.damaged))
    for entry in history.damaged[:_MAX_REPORTED]:
        place = str(entry.get("place") or f"{entry.get('do')} {entry.get('item')}")[-_MAX_SHOWN:]
        reason = "It cannot be read, and may record a paid run: pending items that it may be about are unknown."
        service.ledger.set_aside.add(f"{batch_key(batch_id)}:journal", f"{batch_id} {place}", reason)


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


def _read_results(storage: Storage, folder: str) -> _Results:
    """Return results.json; its revision is 0 if there is none. Raises DamagedRecord."""
    text = storage.get(join(folder, RESULTS), max_bytes=_MAX_RESULTS_BYTES)
    if text is None:
        return _Results()
    try:
        return _Results.model_validate_json(text)
    except ValidationError as error:
        raise DamagedRecord(
            f"{join(folder, RESULTS)} cannot be read ({error.errors()[0]['msg']}). Delete it: the journal has it all."
        ) from None
