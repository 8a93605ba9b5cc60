"""Counters of the whole service, for /metrics. The scripts count, without additional round trips.

The hash has the fields

    ended:{state}                    items that ended in this state
    retried, refused                 runs that came to nothing: attempts spent, and runs that the vendor only refused
    reused                           items whose outputs were copied in place of a run
    overcharged                      runs whose charge was far above the expected price
    archived, not_archived           batches that left Redis; attempts that failed, because S3 lacks something or failed
    deferred                         objects that waited for the next day: their trigger had started enough batches
    found:{how}                      runs whose response was lost and whose task was found
    callbacks:{name}                 callbacks by outcome; CALLBACK_OUTCOMES maps the outcomes to these names
    {step}:{bucket}, {step}:sum      duration of steps (ms): `vendor` from the lease to the end of the task, `copy` from
                                     there to S3, `whole` both
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.domain.money import from_pico
from pipeline.domain.states import ItemState
from pipeline.ledger import keys
from pipeline.ledger.keys import batch_key
from pipeline.ledger.numbers import whole
from pipeline.ledger.records import FoundBy
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import valid_batch_ids

BOUNDS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Upper bounds of the buckets; one more bucket has no bound."""
STEPS = ("vendor", "copy", "whole")
CALLBACK_OUTCOMES = {
    "accepted": "rung",
    "deferred": "held",
    "stale": "stale",
    "rejected": "refused",
    "unavailable": "unheard",
}
"""Outcome of a callback → its name in the hash. `accepted`: the run is due now; `deferred`: it is due when the worker
that holds it releases it; `stale`: the run has ended; `rejected`: the token is invalid; `unavailable`: Redis was."""
_MAX_BATCHES = 1000


@dataclass(frozen=True)
class Latencies:
    """Histogram of a step's duration: a count for each of BOUNDS_S, and one for longer durations."""

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True)
class ServiceCounters:
    """Counters of the service. `items` are those of open batches, by state; the others count from the beginning."""

    open_batches: int
    items: Mapping[str, int]
    ended: Mapping[str, int]
    retried: int
    refused: int
    overcharged: int
    reused: int
    deferred: int
    archived: int
    not_archived: int
    found: Mapping[str, int]
    callbacks: Mapping[str, int]
    latencies: Mapping[str, Latencies]
    spend_usd: Decimal
    set_aside: int
    """Members of queues that could not be read."""
    refused_jobs: int
    """Jobs that no worker of this service runs."""
    due_lag_s: float
    """For how many seconds the oldest due run has been due."""


class CounterStore:
    """Reads the counters. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def read(self) -> ServiceCounters:
        """Return all counters, in two round trips."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.COUNTERS)
            pipe.hvals(keys.SPEND)
            pipe.zcard(keys.OPEN_BATCHES)
            pipe.zrange(keys.OPEN_BATCHES, 0, _MAX_BATCHES - 1)
            pipe.zrange(keys.DUE, 0, 0, withscores=True)
            pipe.time()
            counted, spend, open_batches, ids, first_due, now = pipe.execute()
        return ServiceCounters(
            open_batches=open_batches,
            items=self._items(ids),
            ended={state: whole(counted.get(f"ended:{state}")) for state in ItemState if f"ended:{state}" in counted},
            retried=whole(counted.get("retried")),
            refused=whole(counted.get("refused")),
            reused=whole(counted.get("reused")),
            overcharged=whole(counted.get("overcharged")),
            deferred=whole(counted.get("deferred")),
            archived=whole(counted.get("archived")),
            not_archived=whole(counted.get("not_archived")),
            found={by.value: whole(counted.get(f"found:{by}")) for by in FoundBy},
            callbacks={outcome: whole(counted.get(f"callbacks:{name}")) for outcome, name in CALLBACK_OUTCOMES.items()},
            latencies={step: _latencies(step, counted) for step in STEPS},
            spend_usd=from_pico(sum(map(whole, spend))),
            set_aside=whole(counted.get("set_aside")),
            refused_jobs=whole(counted.get("refused_jobs")),
            due_lag_s=_lag_s(first_due, now),
        )

    def count_callbacks(self, outcome: str, number: int) -> None:
        """Count callbacks that reach no script. `outcome`: one of CALLBACK_OUTCOMES."""
        self._redis.hincrby(keys.COUNTERS, f"callbacks:{CALLBACK_OUTCOMES[outcome]}", number)

    def count_refused_job(self) -> None:
        """Count a job that a worker refused."""
        self._redis.hincrby(keys.COUNTERS, "refused_jobs", 1)

    def _items(self, batch_ids: list[str]) -> dict[str, int]:
        states = list(ItemState)
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in valid_batch_ids(self._scripts, keys.OPEN_BATCHES, batch_ids):
                pipe.hmget(batch_key(batch_id), [f"n:{state}" for state in states])
            rows = pipe.execute(raise_on_error=False)
        total: Counter[str] = Counter(dict.fromkeys(states, 0))
        for row in (row for row in rows if not isinstance(row, Exception)):
            total.update({state: whole(number) for state, number in zip(states, row, strict=True)})
        return dict(total)


def _lag_s(first_due: list[tuple[Any, float]], now: tuple[int, int]) -> float:
    if not first_due:
        return 0.0
    second, microsecond = now
    return max(0.0, second + microsecond / 1e6 - first_due[0][1] / 1000)


def _latencies(step: str, counted: Mapping[str, str]) -> Latencies:
    counts = tuple(whole(counted.get(f"{step}:{number + 1}")) for number in range(len(BOUNDS_S) + 1))
    return Latencies(counts, whole(counted.get(f"{step}:sum")) / 1000)
