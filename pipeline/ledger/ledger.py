"""The ledger: where every item is. The only module that knows Redis keys.

Every change is one atomic script of `lua/`; what it needs and answers stands on its top. Keys, all under `dailies:`

    batches               zset  batch id → created (ms)
    open                  zset  batch id → since when it runs (ms): batches whose results are not written
    turn                  zset  batch id → when it was last served: batches with pending items
    batch:{id}            hash  the batch: plan, status, counts n:{state} and marked:{verdict}, open, active, cost,
                                reserved (pico-USD)
    batch:{id}:order      list  item ids in manifest order
    batch:{id}:specs      hash  item id → JSON {image, prompt, params}
    batch:{id}:pending    zset  item id → when it is due (ms)
    batch:{id}:ended      hash  item id → JSON of what became of it
    batch:{id}:reviews    hash  item id → JSON {mark, note}: what a person thinks of its outputs
    batch:{id}:life       hash  how often what happened when (see ledger_life.py)
    batch:{id}:uploads    hash  image → URL at the vendor, for images that several items share
    item:{batch}:{item}   hash  state, attempt (numbers runs), tries (attempts spent), lease, task, token, paid …
    due                   zset  "batch item" → when a run is to be looked at, or its lease ends (ms)
    leases                zset  "batch item" → when the lease of a submission ends (ms)
    adopt                 zset  "batch item" → until when a lost run is waited for (ms)
    active                set   "batch item" of every run that may be active at the vendor
    spend                 hash  day since 1970 → what runs of that day cost (pico-USD)
    notices               zset  batch id → when its `notify` address is told (see ledger_notices.py)
    figures               hash  what was counted for /metrics (see ledger_figures.py)
    door:{address}        text  tries to sign in (see ledger_door.py)
    account               hash  window, paused, backoff_until, backoff_tries, trouble
    wake:{…}              text  a wake-up is on its way (see wake.py)

Times are milliseconds of the Redis server's clock; a worker's own clock decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.domain.states import TRANSITIONS
from pipeline.ledger import redis_client
from pipeline.ledger.account import AccountStore
from pipeline.ledger.batches import BatchStore
from pipeline.ledger.counters import CounterStore, latency_bounds
from pipeline.ledger.finalization import FinalizationStore
from pipeline.ledger.items import ItemStore
from pipeline.ledger.keys import PREFIX
from pipeline.ledger.login_attempts import LoginAttempts
from pipeline.ledger.outbox import Outbox
from pipeline.ledger.queries import QueryStore
from pipeline.ledger.runs import RunStore
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.shared_images import SharedImageStore
from pipeline.ledger.timeline import TimelineStore, timeline_constants

_LUA = Path(__file__).with_name("lua")


@dataclass(frozen=True)
class Ledger:
    """The stores of the ledger, on one Redis server. All are thread-safe; every method may raise Unreachable."""

    redis: Any
    batches: BatchStore
    items: ItemStore
    shared_images: SharedImageStore
    runs: RunStore
    account: AccountStore
    finalization: FinalizationStore
    queries: QueryStore
    counters: CounterStore
    timeline: TimelineStore
    outbox: Outbox
    login_attempts: LoginAttempts

    @classmethod
    def on(cls, redis: Any) -> Ledger:
        """The ledger on a client of `redis_client.connect`."""
        prelude = _legal_transitions() + latency_bounds() + timeline_constants()
        scripts = ScriptRunner(redis, _LUA, PREFIX, prelude)
        return cls(
            redis=redis,
            batches=BatchStore(scripts),
            items=ItemStore(scripts),
            shared_images=SharedImageStore(scripts),
            runs=RunStore(scripts),
            account=AccountStore(scripts),
            finalization=FinalizationStore(scripts),
            queries=QueryStore(scripts),
            counters=CounterStore(scripts),
            timeline=TimelineStore(scripts),
            outbox=Outbox(scripts),
            login_attempts=LoginAttempts(scripts),
        )

    @classmethod
    def connect(
        cls, redis_url: str, *, retry_timeout_s: float = 0, socket_timeout_s: float = redis_client.SOCKET_TIMEOUT_S
    ) -> Ledger:
        """A ledger on the server at `redis_url`; nothing is sent yet.

        Methods raise Unreachable once the server has been away for `retry_timeout_s`, or has not answered for
        `socket_timeout_s` seconds.
        """
        return cls.on(
            redis_client.connect(redis_url, retry_timeout_s=retry_timeout_s, socket_timeout_s=socket_timeout_s)
        )

    def ping(self) -> None:
        """Raise Unreachable unless the server answers."""
        self.redis.ping()


def _legal_transitions() -> str:
    rows = [f"{state}={{{','.join(f'{to}=true' for to in sorted(tos))}}}" for state, tos in TRANSITIONS.items()]
    return f"local LEGAL = {{{', '.join(rows)}}}\n"
