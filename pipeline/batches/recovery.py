"""Recovery: rebuild the ledger of a batch from S3 after Redis was lost.

No run is paid twice. A run whose task token is in the journal is polled. A run that was about to be posted, and whose
response is not in the journal, becomes `unknown`. An item without a run becomes pending.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline.batches.history import read_history
from pipeline.batches.pricing import BatchEstimate
from pipeline.batches.service import Service
from pipeline.batches.submission import MANIFEST
from pipeline.domain.results import RESULTS
from pipeline.errors import DailiesError, NoBatchOnS3
from pipeline.manifest import parser as manifests
from pipeline.storage import journal
from pipeline.storage.s3 import Storage, join

_MAX_RESULTS_BYTES = 2**30


def recover(service: Service, uri: str) -> str:
    """Rebuild the batch in the folder `uri` (`s3://bucket/prefix/BATCH/`) and return its id.

    A batch that is in the ledger is not changed. Raises NoBatchOnS3, StorageError, Unreachable.
    """
    folder = uri if uri.endswith("/") else uri + "/"
    batch_id = folder.rstrip("/").rpartition("/")[2]
    text = service.storage.get(join(folder, MANIFEST))
    if text is None:
        raise NoBatchOnS3(folder)
    if service.ledger.batches.is_loaded(batch_id):
        return batch_id
    manifest = manifests.parse(text, file=join(folder, MANIFEST), read_rows=_refuse_rows, local_files=None)
    results, rows = _read_results(service.storage, folder)
    history = read_history(manifest, rows, journal.entries(service.storage, folder))
    is_current = bool(results) and history.matches_results(rows)
    service.submission.create(
        manifest,
        batch_id,
        folder,
        trigger=str(results.get("trigger") or "recover"),
        revision=int(results.get("revision") or 0) + (0 if is_current else 1),
    )
    prices = zip(manifest.items, BatchEstimate.of(manifest, service.models).items, strict=True)
    service.ledger.items.restore(
        batch_id,
        history.restored_items(),
        {item.id: price.high_usd for item, price in prices if price},
        adopt_wait_s=service.settings.adopt_wait_s,
    )
    for item_id, review in history.reviews.items():
        service.ledger.items.review(batch_id, item_id, review)
    service.submission.start_batch(batch_id, stopped=history.stopped)
    return batch_id


def _refuse_rows(reference: str) -> bytes:
    raise DailiesError(f"{reference}: An accepted manifest must not name a file of rows. Correct manifest.yaml on S3.")


def _read_results(storage: Storage, folder: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return results.json as (all but the items, items), ({}, []) if there is none."""
    text = storage.get(join(folder, RESULTS), max_bytes=_MAX_RESULTS_BYTES)
    document = json.loads(text) if text else {}
    rows = document.pop("items", [])
    return document, rows
