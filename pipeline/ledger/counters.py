"""Figures of the whole ledger, for /metrics: counted by its scripts, on their way, at no round trip more.

The hash `figures` holds

    ended:{state}                     items that came to this end
    retried, refused                  attempts that came to nothing: spent, and only turned away
    callbacks:{outcome}               `rung` at once, `held` for whoever works on the run, `stale` for one that is over;
                                      `refused` with a token that is none, `unheard` while Redis was away
    {step}:{bucket}, {step}:sum       how long steps took (ms): `vendor` from the claim to the end of the task, `copy`
                                      from there to S3, `whole` both
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pipeline.domain.money import from_pico
from pipeline.domain.states import ItemState
from pipeline.ledger.keys import PREFIX, batch_key
from pipeline.ledger.scripts import ScriptRunner

BOUNDS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Upper bounds of the buckets; one more has no bound."""
STEPS = ("vendor", "copy", "whole")
OUTCOMES = ("rung", "held", "stale", "refused", "unheard")
_MAX_BATCHES = 1000


@dataclass(frozen=True)
class Latencies:
    """How often a step took how long: one count for each of BOUNDS_S, and one for what took longer."""

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True)
class ServiceCounters:
    """How the service is doing. `items` are those of open batches, by state; the rest is since the beginning."""

    open_batches: int
    items: Mapping[str, int]
    ended: Mapping[str, int]
    retried: int
    refused: int
    callbacks: Mapping[str, int]
    latencies: Mapping[str, Latencies]
    spend_usd: Decimal
    due_lag_s: float
    """How long the run that is due longest has waited to be looked at."""


class CounterStore:
    """What the ledger has counted."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def read(self) -> ServiceCounters:
        """All of it, in two round trips."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(f"{PREFIX}figures")
            pipe.hvals(f"{PREFIX}spend")
            pipe.zcard(f"{PREFIX}open")
            pipe.zrange(f"{PREFIX}open", 0, _MAX_BATCHES - 1)
            pipe.zrange(f"{PREFIX}due", 0, 0, withscores=True)
            pipe.time()
            counted, spend, open_batches, ids, first, (second, microsecond) = pipe.execute()
        now_ms = second * 1000 + microsecond / 1000
        return ServiceCounters(
            open_batches=open_batches,
            items=self._items(ids),
            ended={state: int(counted.get(f"ended:{state}", 0)) for state in ItemState if f"ended:{state}" in counted},
            retried=int(counted.get("retried", 0)),
            refused=int(counted.get("refused", 0)),
            callbacks={outcome: int(counted.get(f"callbacks:{outcome}", 0)) for outcome in OUTCOMES},
            latencies={step: _latencies(step, counted) for step in STEPS},
            spend_usd=from_pico(sum(map(int, spend))),
            due_lag_s=max(0.0, (now_ms - first[0][1]) / 1000) if first else 0.0,
        )

    def count_callbacks(self, outcome: str, number: int) -> None:
        """So many callbacks came to `outcome`, one of OUTCOMES that no script sees."""
        self._redis.hincrby(f"{PREFIX}figures", f"callbacks:{outcome}", number)

    def _items(self, batch_ids: list[str]) -> dict[str, int]:
        states = list(ItemState)
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in batch_ids:
                pipe.hmget(batch_key(batch_id), [f"n:{state}" for state in states])
            rows = pipe.execute()
        total: Counter[str] = Counter(dict.fromkeys(states, 0))
        for row in rows:
            total.update({state: int(number or 0) for state, number in zip(states, row, strict=True)})
        return dict(total)


def latency_bounds() -> str:
    """BOUNDS_S as the scripts know them."""
    return f"local BOUNDS = {{{', '.join(str(int(bound * 1000)) for bound in BOUNDS_S)}}}\n"


def _latencies(step: str, counted: Mapping[str, str]) -> Latencies:
    counts = tuple(int(counted.get(f"{step}:{number + 1}", 0)) for number in range(len(BOUNDS_S) + 1))
    return Latencies(counts, int(counted.get(f"{step}:sum", 0)) / 1000)
