"""Items of the ledger: their specs, rows and reviews."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from itertools import islice
from typing import Any, TypeVar

from pipeline.domain.model import ItemRow, Review
from pipeline.domain.money import to_pico
from pipeline.domain.states import TERMINAL, ItemState
from pipeline.errors import NoSuchBatch, NoSuchItem
from pipeline.ledger.keys import batch_key, item_key
from pipeline.ledger.records import LIVE_FIELDS, RunRef, item_row, ms
from pipeline.ledger.scripts import ScriptRunner

_Thing = TypeVar("_Thing")
_CHUNK = 500


class ItemStore:
    """Reads and changes the items of a batch. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def load(self, batch_id: str, specs: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Put items (id, {image, prompt, params}) on the batch; those that are there stay as they are."""
        for chunk in chunked(specs, _CHUNK):
            self._scripts.run(
                "load_items", batch_id, *(part for item_id, spec in chunk for part in (item_id, _spec_text(spec)))
            )

    def restore(self, batch_id: str, items: Iterable[tuple[str, Mapping[str, Any]]], *, adopt_wait_s: float) -> None:
        """Put items on a batch as S3 knows them (see recovery.py); those that are there stay as they are.

        Each is (id, {spec, state, attempt, task, token, paid, outcome}).
        """
        for chunk in chunked(items, _CHUNK):
            args: list[object] = []
            for item_id, item in chunk:
                outcome = json.dumps(item["outcome"], ensure_ascii=False) if item["outcome"] else ""
                run = (item["state"], item["attempt"], item["task"], item["token"])
                cost = (item["paid"], to_pico(Decimal(item["paid"] or 0)))
                args += [item_id, _spec_text(item["spec"]), *run, *cost, outcome]
            self._scripts.run("restore_items", batch_id, ms(adopt_wait_s), *args)

    def add(self, batch_id: str, item_id: str, spec: Mapping[str, Any]) -> bool:
        """One more item on a loaded batch, which is open again if it had ended. False when there is such an item."""
        return bool(self._scripts.run("add_item", batch_id, item_id, _spec_text(spec)) == 1)

    def stream(self, batch_id: str, states: Collection[str] | None = None) -> Iterator[ItemRow]:
        """Items in manifest order, streamed; only those in `states` when given."""
        base = batch_key(batch_id)
        for first in range(0, self._redis.llen(f"{base}:order"), _CHUNK):
            ids = self._redis.lrange(f"{base}:order", first, first + _CHUNK - 1)
            for row in read_items(self._redis, batch_id, ids):
                if states is None or row.status in states:
                    yield row

    def get(self, batch_id: str, item_id: str) -> ItemRow:
        """One item. Raises NoSuchBatch, NoSuchItem."""
        if not self._redis.hexists(f"{batch_key(batch_id)}:specs", item_id):
            if not self._redis.exists(batch_key(batch_id)):
                raise NoSuchBatch(batch_id)
            raise NoSuchItem(batch_id, item_id)
        return read_items(self._redis, batch_id, [item_id])[0]

    def spec(self, batch_id: str, item_id: str) -> dict[str, Any]:
        """{image, prompt, params} of an item. Raises NoSuchBatch, NoSuchItem."""
        text = self._redis.hget(f"{batch_key(batch_id)}:specs", item_id)
        if text is None:
            self._require_batch(batch_id)
            raise NoSuchItem(batch_id, item_id)
        found: dict[str, Any] = json.loads(text)
        return found

    def run_of(self, batch_id: str, item_id: str) -> RunRef | None:
        """The latest run of an item, None before the vendor took one. Raises NoSuchBatch, NoSuchItem."""
        self.spec(batch_id, item_id)
        task, token, attempt = self._redis.hmget(item_key(batch_id, item_id), "task", "token", "attempt")
        return RunRef(task, token or "", int(attempt)) if task else None

    def review(self, batch_id: str, item_id: str, review: Review | None) -> bool:
        """Note a person's verdict, None takes it back. True when the results are due once more.

        Raises NoSuchBatch, NoSuchItem.
        """
        text = json.dumps(asdict(review), ensure_ascii=False) if review else ""
        due = self._scripts.run("review", batch_id, item_id, text)
        if due < 0:
            self._require_batch(batch_id)
            raise NoSuchItem(batch_id, item_id)
        return bool(due == 1)

    def retry(self, batch_id: str, states: Collection[str]) -> int:
        """Let ended items in `states` go again; what is paid is only copied again. Answers how many. NoSuchBatch."""
        self._require_batch(batch_id)
        wanted = [state for state in states if state in TERMINAL and state != ItemState.SUCCEEDED]
        first, reopened = 0, 0
        while True:
            seen, count = self._scripts.run("reopen_items", batch_id, first, first + _CHUNK - 1, *wanted)
            first, reopened = first + _CHUNK, reopened + count
            if seen < _CHUNK:
                return int(reopened)

    def retry_one(self, batch_id: str, item_id: str) -> bool:
        """Let one ended item go again. False when it has not ended, or has succeeded. NoSuchBatch, NoSuchItem."""
        wanted = [state for state in TERMINAL if state != ItemState.SUCCEEDED]
        reopened = self._scripts.run("reopen_item", batch_id, item_id, *wanted)
        if reopened < 0:
            self._require_batch(batch_id)
            raise NoSuchItem(batch_id, item_id)
        return bool(reopened == 1)

    def cancel_pending(self, batch_id: str, reason: str) -> int:
        """End all pending items as cancelled, in small steps. Answers how many items are still open."""
        outcome = json.dumps({"status": ItemState.CANCELLED, "error": reason}, ensure_ascii=False)
        while True:
            ended, still_open = self._scripts.run("cancel_pending", batch_id, _CHUNK, outcome)
            if ended < _CHUNK:
                return int(still_open)

    def poll_now(self, batch_id: str) -> None:
        """Make every running item of a batch due now."""
        first = 0
        while self._scripts.run("hurry_running", first, first + _CHUNK - 1, batch_id) == _CHUNK:
            first += _CHUNK

    def _require_batch(self, batch_id: str) -> None:
        if not self._redis.exists(batch_key(batch_id)):
            raise NoSuchBatch(batch_id)


def read_items(redis: Any, batch_id: str, ids: Sequence[str]) -> list[ItemRow]:
    """The items with these ids, in this order, in one round trip."""
    if not ids:
        return []
    base = batch_key(batch_id)
    with redis.pipeline(transaction=False) as pipe:
        pipe.hmget(f"{base}:specs", ids)
        pipe.hmget(f"{base}:ended", ids)
        pipe.hmget(f"{base}:reviews", ids)
        for item_id in ids:
            pipe.hmget(item_key(batch_id, item_id), LIVE_FIELDS)
        specs, ended, reviews, *live = pipe.execute()
    return [
        item_row(item_id, spec, outcome, review, fields)
        for item_id, spec, outcome, review, fields in zip(ids, specs, ended, reviews, live, strict=True)
    ]


def chunked(things: Iterable[_Thing], size: int) -> Iterator[list[_Thing]]:
    """Lists of at most `size` things, in order."""
    source = iter(things)
    while chunk := list(islice(source, size)):
        yield chunk


def _spec_text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
