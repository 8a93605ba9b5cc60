"""Previews of a batch: which ones are on S3, and requests to make others.

A worker leases a request. If it crashes, the lease expires and the request is due again, MAX_ATTEMPTS times in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.domain.chunks import chunked
from pipeline.ledger import keys
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.times import moment_ms, ms, server_time

MAX_REQUESTS = 500_000
"""About 50 MB of Redis. Further requests are dropped: a deployment may have no worker that makes previews."""
MAX_ATTEMPTS = 5
_MADE = "1"
_CHUNK = 500


@dataclass(frozen=True)
class PreviewRequest:
    """A leased request for the previews of an item; `item_id` '': for a search of the whole batch."""

    batch_id: str
    item_id: str
    lease: str
    attempt: int


class PreviewStore:
    """Reads and changes the previews of batches. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def request(self, batch_id: str, item_ids: Iterable[str] = ("",), *, only_new: bool = False) -> None:
        """Request the previews of items, or with '' those that a batch lacks.

        A request that exists is due again now; with `only_new` it stays as it is.
        """
        for chunk in chunked(item_ids, _CHUNK):
            self._scripts.run("request_previews", batch_id, MAX_REQUESTS, int(only_new), *chunk)

    def has_due(self) -> bool:
        """Return whether a request is due."""
        first = self._redis.zrange(keys.PREVIEWS, 0, 0, withscores=True)
        return bool(first) and first[0][1] <= moment_ms(server_time(self._redis))

    def claim(self, *, lease_s: float) -> PreviewRequest | None:
        """Lease the request that has been due for the longest time; None if none is due."""
        row = self._scripts.run("claim_preview", ms(lease_s), MAX_ATTEMPTS)
        return PreviewRequest(*row) if row else None

    def complete(self, request: PreviewRequest) -> bool:
        """Remove a request. Returns False if the lease was lost."""
        return self._release(request, -1)

    def reschedule(self, request: PreviewRequest, delay_s: float) -> bool:
        """Make a request due in `delay_s`. Returns False if the lease was lost."""
        return self._release(request, ms(delay_s))

    def record(self, batch_id: str, name: str, *, is_made: bool) -> None:
        """Record that a preview is on S3, or that its file has none. Do nothing if the batch has left Redis."""
        self._scripts.run("record_preview", batch_id, name, _MADE if is_made else "0")

    def made(self, batch_id: str, names: Sequence[str]) -> frozenset[str]:
        """Return those of `names` that are on S3."""
        return frozenset(name for name, value in self._known(batch_id, names) if value == _MADE)

    def missing(self, batch_id: str, names: Sequence[str]) -> list[str]:
        """Return those of `names` that were neither made nor given up."""
        return [name for name, value in self._known(batch_id, names) if value is None]

    def all_made(self, batch_id: str) -> frozenset[str]:
        """Return the names of all previews of a batch that are on S3."""
        entries = self._redis.hscan_iter(keys.previews_key(batch_id), count=_CHUNK)
        return frozenset(name for name, value in entries if value == _MADE)

    def are_due(self, batch_id: str, item_ids: Sequence[str]) -> bool:
        """Return whether previews of one of these items, or of the whole batch, are still to be made."""
        members = [f"{batch_id} {item_id}" for item_id in ("", *item_ids)]
        return any(score is not None for score in self._redis.zmscore(keys.PREVIEWS, members))

    def _known(self, batch_id: str, names: Sequence[str]) -> list[tuple[str, str | None]]:
        values = self._redis.hmget(keys.previews_key(batch_id), names) if names else []
        return list(zip(names, values, strict=True))

    def _release(self, request: PreviewRequest, delay_ms: int) -> bool:
        args = (request.batch_id, request.item_id, request.lease, delay_ms)
        return bool(self._scripts.run("release_preview", *args) == 1)
