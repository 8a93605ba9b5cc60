"""The history of a batch, from its manifest, results and journal on S3. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pipeline.batches.history_schema import accepts_entry, accepts_row, damaged
from pipeline.batches.submission import item_spec
from pipeline.domain.model import ItemRow, Manifest, Review
from pipeline.domain.money import plain_usd
from pipeline.domain.results import item_document, row_from_document
from pipeline.domain.states import ItemState
from pipeline.errors import DamagedRecord
from pipeline.storage.journal import DAMAGED

_ITEM = re.compile(r'"item":\s*"([^"]{1,200})"')
_WITHOUT_RUN = ("review", "reopen", "add")
"""Kinds of entries that are not about money."""

_OUTCOME = ("status", "error", "elapsed_s", "outputs", "reused_from")


@dataclass
class ItemHistory:
    """One item. `outcome` is {status, error, elapsed_s, outputs} once it has ended, else empty.

    `cost_usd`: what its successful run cost. `recorded`: its row in results.json, None if it has none. `is_recorded`:
    its cost is in that row. `charges`: attempt → what a run cost that did not succeed, as the journal records.
    """

    spec: Mapping[str, Any]
    state: ItemState = ItemState.PENDING
    attempt: int = 0
    least_attempts: int = 0
    """More attempts than the numbers of its runs may be spent, because a record of them cannot be read."""
    task: str = ""
    token: str = ""
    cost_usd: str = "0"
    recorded: ItemRow | None = None
    is_recorded: bool = False
    charges: dict[int, Decimal] = field(default_factory=dict)
    found_by: str | None = None
    outcome: Mapping[str, Any] = field(default_factory=dict)
    reuse_key: str | None = None
    reused_from: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    """The outcome of the item `reused_from`."""
    final: bool = False
    """results.json has the end of the item, and no later journal entry reopens it."""

    @property
    def paid_usd(self) -> Decimal:
        """What the successful run cost, 0 if none succeeded."""
        if self.recorded is None or not self.is_recorded:
            return Decimal(self.cost_usd)
        return max(self.recorded.cost_usd - self._charged(self.charges), Decimal(0))

    @property
    def attempts(self) -> int:
        """How many attempts were spent."""
        if self.recorded is None or self.final:
            return self.recorded.attempts if self.recorded else self.attempt
        return self.recorded.attempts + max(0, self.attempt - recorded_run(self.recorded))

    def record(self, row: ItemRow) -> None:
        """Take over what the results have of the item."""
        self.state, self.task, self.found_by = ItemState(row.status), row.task_id or "", row.found_by
        self.recorded, self.is_recorded, self.attempt = row, True, recorded_run(row)
        document = item_document(row)
        self.outcome = {name: document[name] for name in _OUTCOME if name in document}
        self.reuse_key, self.reused_from = row.reuse_key, row.reused_from

    def _charged(self, charges: Mapping[int, Decimal]) -> Decimal:
        """Return what runs cost that did not succeed. The journal of an archived batch is deleted, its results stay."""
        last = recorded_run(self.recorded) if self.recorded else 0
        before = sum((usd for attempt, usd in charges.items() if attempt <= last), Decimal(0))
        after = sum((usd for attempt, usd in charges.items() if attempt > last), Decimal(0))
        return max(before, self.recorded.charged_usd if self.recorded else Decimal(0)) + after

    def restored(self) -> dict[str, Any]:
        """Return the fields that `ledger.items.restore` takes."""
        # The charge of a run that is polled again is counted then.
        charges = {n: usd for n, usd in self.charges.items() if self.outcome or n < self.attempt}
        return {
            "spec": self.spec,
            "state": self.state,
            "attempt": self.attempt,
            "attempts": max(self.attempts, self.least_attempts),
            "task": self.task,
            "token": self.token,
            "paid": plain_usd(self.paid_usd) if self.paid_usd else "",
            "charged": plain_usd(self._charged(charges)),
            "found_by": self.found_by,
            "outcome": self.outcome or None,
            "reuse_key": self.reuse_key,
            "reused_from": self.reused_from,
            "source": None if self.outcome else self.source,
        }


def ended_items(rows: Iterable[ItemRow]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (id, fields) of each item of results for `ledger.items.restore`. No journal entry is newer."""
    for row in rows:
        item = ItemHistory(_spec(row), final=True)
        item.record(row)
        yield row.id, item.restored() | {"review": row.review}


def _spec(row: ItemRow) -> dict[str, Any]:
    return {"image": row.image, "prompt": row.prompt, "params": dict(row.params), "take_of": row.take_of}


def recorded_run(row: ItemRow) -> int:
    """Return the number of the latest run in a row of results.json."""
    return max(row.run or 0, row.attempts)


@dataclass
class BatchHistory:
    """All items, reviews and the reason for which the batch was stopped, None if it was not.

    `archived_revision`: the results of this revision have what was deleted from the journal; 0: nothing was.
    `ignored`: how many entries and rows are of items that this service cannot have. `damaged`: the entries of the
    journal that cannot be read.
    """

    items: dict[str, ItemHistory]
    reviews: dict[str, Review] = field(default_factory=dict)
    stopped: str | None = None
    archived_revision: int = 0
    ignored: int = 0
    damaged: list[Mapping[str, Any]] = field(default_factory=list)

    def matches_results(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Return whether results with these rows are complete and current."""
        results = {row.id: row for row in map(row_from_document, rows)}
        reviews = {item_id: row.review for item_id, row in results.items() if row.review}
        return self.reviews == reviews and all(
            item.outcome and item_id in results and results[item_id].status == item.state
            for item_id, item in self.items.items()
        )

    def restored_items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (id, fields) of each item for `ledger.items.restore`."""
        return (
            (item_id, item.restored() | {"review": self.reviews.get(item_id)}) for item_id, item in self.items.items()
        )


def read_history(
    manifest: Manifest, rows: Iterable[Mapping[str, Any]], entries: Iterable[Mapping[str, Any]]
) -> BatchHistory:
    """Return the history from the items of results.json and the journal entries, oldest first.

    A damaged entry may record a run that is paid. Of the items that it may be about, the pending ones are unknown, and
    the last known run of a running one is not followed by another. Raises DamagedRecord: results.json is damaged.
    """
    history = BatchHistory({item.id: ItemHistory(item_spec(item)) for item in manifest.items})
    _apply_all(history, rows, accepts_row, _apply_row)
    for item in history.items.values():
        item.final = bool(item.outcome)
    for entry in entries:
        try:
            _apply_all(history, [entry], accepts_entry, _apply_entry)
        except DamagedRecord:
            history.damaged.append(entry)
    _hold(history, manifest.limits.attempts)
    return history


def _hold(history: BatchHistory, attempts_allowed: int) -> None:
    named = {_item_of(entry, history) for entry in history.damaged if entry.get("do") not in _WITHOUT_RUN}
    for item_id, item in history.items.items():
        if item_id not in named and None not in named:
            continue
        if item.state == ItemState.PENDING:
            item.state, item.attempt = ItemState.UNKNOWN, item.attempt + 1
        elif item.state == ItemState.RUNNING:
            item.least_attempts = attempts_allowed


def _item_of(entry: Mapping[str, Any], history: BatchHistory) -> str | None:
    """Return the item that a damaged entry names; None if it may be any."""
    match = _ITEM.search(str(entry.get("line", "")))
    item_id = match[1] if match else entry.get("item")
    return item_id if isinstance(item_id, str) and item_id in history.items else None


def _apply_all(
    history: BatchHistory,
    documents: Iterable[Mapping[str, Any]],
    accepts: Callable[[Mapping[str, Any]], bool],
    apply: Callable[[BatchHistory, Mapping[str, Any]], None],
) -> None:
    for document in documents:
        if not accepts(document):
            history.ignored += 1
            continue
        try:
            apply(history, document)
        except (KeyError, TypeError) as error:
            # A field is missing that this kind of entry must have.
            raise damaged(document, error) from None


def _apply_row(history: BatchHistory, document: Mapping[str, Any]) -> None:
    row = row_from_document(document)
    if row.id not in history.items:
        history.items[row.id] = ItemHistory(_spec(row))
    history.items[row.id].record(row)
    if row.review:
        history.reviews[row.id] = row.review


def _apply_entry(history: BatchHistory, entry: Mapping[str, Any]) -> None:
    action = entry["do"]
    if action == DAMAGED:
        raise damaged(entry, ValueError("no JSON object"))
    if action == "stop":
        history.stopped = entry["reason"]
    elif action == "reopen":
        _reopen(history, entry["states"], entry.get("items"))
    elif action == "archive":
        history.archived_revision = max(history.archived_revision, entry["revision"])
    elif action == "add":
        spec = {"image": None, "prompt": None, "params": {}, **entry["spec"]}
        history.items.setdefault(entry["item"], ItemHistory(spec))
    elif action == "review" and entry["item"] in history.items:
        _apply_review(history, entry)
    elif (item := history.items.get(entry["item"])) is not None:
        _apply_run(item, entry)


def _reopen(history: BatchHistory, states: Collection[str], only: Collection[str] | None) -> None:
    history.stopped = None
    for item_id, item in history.items.items():
        if item.state in states and item.outcome and (only is None or item_id in only):
            item.final = False
            item.state = ItemState.COLLECTING if item.paid_usd and (item.token or item.task) else ItemState.PENDING
            item.outcome = {}


def _apply_review(history: BatchHistory, entry: Mapping[str, Any]) -> None:
    if entry["mark"] is None:
        history.reviews.pop(entry["item"], None)
    else:
        history.reviews[entry["item"]] = Review(entry["mark"], entry["note"])


def _apply_run(item: ItemHistory, entry: Mapping[str, Any]) -> None:
    attempt = int(entry["attempt"])
    if entry["do"] == "charge":
        item.charges[attempt] = Decimal(entry["cost_usd"])
    if attempt < item.attempt:
        return
    if attempt > item.attempt:
        item.attempt = attempt
        if not item.final:
            item.state = ItemState.UNKNOWN
            item.task = item.token = ""
            item.found_by = item.reused_from = None
            item.outcome = {}
    action = entry["do"]
    item.reuse_key = entry.get("reuse_key") or item.reuse_key
    if action == "reuse" and not item.final and not item.outcome:
        item.state, item.task = ItemState.COLLECTING, entry["task"]
        item.reused_from, item.source = entry["reused_from"], entry["outcome"]
    elif action == "task":
        item.task, item.token = entry["task"], entry["token"]
        item.found_by = entry.get("found_by") or item.found_by
        if not item.final and not item.outcome:
            item.state = ItemState.RUNNING
    elif action == "back" and not item.final and not item.task:
        item.state = ItemState.PENDING
    elif action == "end" and not item.final:
        item.state = ItemState(entry["outcome"]["status"])
        item.cost_usd, item.is_recorded, item.outcome = entry["cost_usd"], False, entry["outcome"]
