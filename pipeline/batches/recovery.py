"""Rebuilding a batch from S3 when Redis has lost it: manifest, journal and results become items on the ledger.

What was paid is never paid again. A run whose task token is in the journal is asked after; one that was about to be
posted and whose answer nobody wrote down is `unknown`, as after any lost answer; what never began is pending.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pipeline.batches.service import Service
from pipeline.batches.submission import MANIFEST, spec_of
from pipeline.domain.model import Manifest, Review
from pipeline.domain.results import item_document, row_from_document
from pipeline.domain.states import ItemState
from pipeline.errors import DailiesError, NoBatchThere
from pipeline.manifest import parser as manifests
from pipeline.storage import journal
from pipeline.storage.s3 import Storage, join


@dataclass
class Past:
    """What S3 knows of one item. `outcome` is what became of it, once it ended."""

    spec: Mapping[str, Any]
    state: ItemState = ItemState.PENDING
    attempt: int = 0
    task: str = ""
    token: str = ""
    cost_usd: str = "0"
    outcome: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class History:
    """What S3 knows of a batch."""

    items: dict[str, Past]
    reviews: dict[str, Review] = field(default_factory=dict)
    stopped: str | None = None

    def is_told_by(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether results with these rows say all that there is to say."""
        told = {row.id: row for row in map(row_from_document, rows)}
        return all(
            past.outcome and item_id in told and told[item_id].status == past.state
            for item_id, past in self.items.items()
        ) and self.reviews == {item_id: row.review for item_id, row in told.items() if row.review}


def recover(service: Service, uri: str) -> str:
    """Put the batch whose folder is `uri` (`s3://bucket/prefix/BATCH/`) back on the ledger. Answers its id.

    A batch that the ledger knows is left as it is. Raises NoBatchThere, StorageError, Unreachable.
    """
    folder = uri if uri.endswith("/") else uri + "/"
    batch_id = folder.rstrip("/").rpartition("/")[2]
    text = service.storage.get(join(folder, MANIFEST))
    if text is None:
        raise NoBatchThere(folder)
    if service.ledger.batches.is_loaded(batch_id):
        return batch_id
    manifest = manifests.parse(text, file=join(folder, MANIFEST), read_rows=_no_rows, local_files=None)
    head, rows = _results(service.storage, folder)
    history = _history(manifest, rows, journal.entries(service.storage, folder))
    revision = int(head.get("revision") or 0) + (0 if head and history.is_told_by(rows) else 1)
    service.submission.open(
        manifest, batch_id, folder, trigger=str(head.get("trigger") or "recover"), revision=revision
    )
    service.ledger.items.restore(batch_id, _restored(history), adopt_wait_s=service.settings.adopt_wait_s)
    for item_id, review in history.reviews.items():
        service.ledger.items.review(batch_id, item_id, review)
    service.submission.start_batch(batch_id, stopped=history.stopped)
    return batch_id


def _no_rows(reference: str) -> bytes:
    raise DailiesError(f"{reference}: an accepted manifest names no rows")


def _results(storage: Storage, folder: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """results.json as (everything else, items); ({}, []) where there is none."""
    text = storage.get(join(folder, "results.json"), max_bytes=2**30)
    document = json.loads(text) if text else {}
    rows = document.pop("items", [])
    return document, rows


def _history(manifest: Manifest, rows: Iterable[Mapping[str, Any]], entries: Iterable[Mapping[str, Any]]) -> History:
    """Fold what S3 has into the state of each item. Pure."""
    history = History({item.id: Past(spec_of(item)) for item in manifest.items})
    for row in rows:
        _apply_row(history, row)
    settled = {item_id: bool(past.outcome) for item_id, past in history.items.items()}
    for entry in entries:
        _apply(history, entry, settled)
    return history


def _apply_row(history: History, row: Mapping[str, Any]) -> None:
    item = row_from_document(row)
    document = item_document(item)
    past = history.items.get(item.id)
    if past is None:
        spec = {"image": item.image, "prompt": item.prompt, "params": dict(item.params), "take_of": item.take_of}
        past = history.items[item.id] = Past(spec)
    past.state, past.task, past.cost_usd = ItemState(item.status), item.task_id or "", document["cost_usd"]
    past.outcome = {name: document[name] for name in ("status", "error", "elapsed_s", "outputs")}
    if item.review:
        history.reviews[item.id] = item.review


def _apply(history: History, entry: Mapping[str, Any], settled: dict[str, bool]) -> None:
    """One journal entry. `settled`: items that results.json has as ended, until the journal reopens them."""
    do = entry["do"]
    if do == "stop":
        history.stopped = entry["reason"]
    elif do == "reopen":
        _reopen(history, entry["states"], settled, entry.get("items"))
    elif do == "add":
        history.items.setdefault(entry["item"], Past(entry["spec"]))
    elif do == "review":
        _apply_review(history, entry)
    elif (past := history.items.get(entry["item"])) is not None:
        _apply_run(past, entry, settled.get(entry["item"], False))


def _apply_review(history: History, entry: Mapping[str, Any]) -> None:
    if entry["mark"] is None:
        history.reviews.pop(entry["item"], None)
    else:
        history.reviews[entry["item"]] = Review(entry["mark"], entry["note"])


def _apply_run(past: Past, entry: Mapping[str, Any], settled: bool) -> None:
    attempt = int(entry["attempt"])
    if attempt < past.attempt:
        return
    if attempt > past.attempt:
        past.attempt = attempt
        if not settled:
            past.state = ItemState.UNKNOWN
            past.task = past.token = ""
            past.outcome = {}
    do = entry["do"]
    if do == "task":
        past.task, past.token = entry["task"], entry["token"]
        if not settled and not past.outcome:
            past.state = ItemState.RUNNING
    elif do == "back" and not settled and not past.task:
        past.state = ItemState.PENDING
    elif do == "end" and not settled:
        past.state = ItemState(entry["outcome"]["status"])
        past.cost_usd, past.outcome = entry["cost_usd"], entry["outcome"]


def _reopen(history: History, states: Iterable[str], settled: dict[str, bool], only: Collection[str] | None) -> None:
    history.stopped = None
    for item_id, past in history.items.items():
        if past.state in states and past.outcome and (only is None or item_id in only):
            settled[item_id] = False
            past.state = ItemState.COLLECTING if Decimal(past.cost_usd) and past.token else ItemState.PENDING
            past.outcome = {}


def _restored(history: History) -> Iterable[tuple[str, dict[str, Any]]]:
    for item_id, past in history.items.items():
        yield (
            item_id,
            {
                "spec": past.spec,
                "state": past.state,
                "attempt": past.attempt,
                "task": past.task,
                "token": past.token,
                "paid": past.cost_usd if Decimal(past.cost_usd) else "",
                "outcome": past.outcome or None,
            },
        )
