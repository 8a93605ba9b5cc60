"""The ledger: the state of every batch, item and run.

Each change is one atomic script of `lua/`. `keys.py` describes the stored data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ledger import keys, redis_client, schema_version
from pipeline.ledger.account import AccountStore
from pipeline.ledger.batches import BatchStore
from pipeline.ledger.constants import lua_constants
from pipeline.ledger.counters import CounterStore
from pipeline.ledger.finalization import FinalizationStore
from pipeline.ledger.items import ItemStore
from pipeline.ledger.live_checks import LiveCheckStore
from pipeline.ledger.login_attempts import LoginAttempts
from pipeline.ledger.lost_runs import LostRunStore
from pipeline.ledger.model_cache import ModelCache
from pipeline.ledger.outbox import Outbox
from pipeline.ledger.previews import PreviewStore
from pipeline.ledger.queries import QueryStore
from pipeline.ledger.retention import RetentionStore
from pipeline.ledger.reusable import ReusableStore
from pipeline.ledger.run_times import RunTimeStore
from pipeline.ledger.runs import RunStore
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.sessions import SessionStore
from pipeline.ledger.set_aside import SetAsideStore
from pipeline.ledger.share_links import ShareLinkStore
from pipeline.ledger.shared_images import SharedImageStore
from pipeline.ledger.sign_in_codes import SignInCodeStore
from pipeline.ledger.timeline import TimelineStore

_WRITABLE_S = 60
_LUA = Path(__file__).with_name("lua")
_LIBRARIES = ("_keys", "_counters", "_money", "_account", "_batches", "_reuse", "_items", "_set_aside")


@dataclass(frozen=True)
class Ledger:
    """The stores of the ledger, on one Redis server. All are thread-safe; every method may raise Unreachable."""

    redis: Any
    scripts: ScriptRunner
    batches: BatchStore
    items: ItemStore
    shared_images: SharedImageStore
    runs: RunStore
    lost_runs: LostRunStore
    account: AccountStore
    finalization: FinalizationStore
    previews: PreviewStore
    queries: QueryStore
    retention: RetentionStore
    counters: CounterStore
    timeline: TimelineStore
    outbox: Outbox
    live_checks: LiveCheckStore
    login_attempts: LoginAttempts
    sessions: SessionStore
    sign_in_codes: SignInCodeStore
    share_links: ShareLinkStore
    model_cache: ModelCache
    run_times: RunTimeStore
    reusable: ReusableStore
    set_aside: SetAsideStore

    @classmethod
    def on(cls, redis: Any) -> Ledger:
        """Return the ledger on a client of `redis_client.connect`."""
        scripts = ledger_scripts(redis)
        return cls(
            redis=redis,
            scripts=scripts,
            batches=BatchStore(scripts),
            items=ItemStore(scripts),
            shared_images=SharedImageStore(scripts),
            runs=RunStore(scripts),
            lost_runs=LostRunStore(scripts),
            account=AccountStore(scripts),
            finalization=FinalizationStore(scripts),
            previews=PreviewStore(scripts),
            queries=QueryStore(scripts),
            retention=RetentionStore(scripts),
            counters=CounterStore(scripts),
            timeline=TimelineStore(scripts),
            outbox=Outbox(scripts),
            live_checks=LiveCheckStore(scripts),
            login_attempts=LoginAttempts(scripts),
            sessions=SessionStore(scripts),
            sign_in_codes=SignInCodeStore(scripts),
            share_links=ShareLinkStore(scripts),
            model_cache=ModelCache(scripts),
            run_times=RunTimeStore(scripts),
            reusable=ReusableStore(scripts),
            set_aside=SetAsideStore(scripts),
        )

    @classmethod
    def connect(
        cls, redis_url: str, *, retry_timeout_s: float = 0, socket_timeout_s: float = redis_client.SOCKET_TIMEOUT_S
    ) -> Ledger:
        """Return the ledger on the server at `redis_url`. Nothing is sent yet.

        Methods raise Unreachable if the server is unavailable for `retry_timeout_s` seconds, or does not respond
        within `socket_timeout_s` seconds.
        """
        return cls.on(
            redis_client.connect(redis_url, retry_timeout_s=retry_timeout_s, socket_timeout_s=socket_timeout_s)
        )

    def check_schema(self) -> None:
        """Raise IncompatibleSchema if the server has data that this program cannot continue."""
        schema_version.check(self.scripts)

    def check_ready(self) -> None:
        """Raise IncompatibleSchema as `check_schema`, and ServiceRefuses if the server takes no writes."""
        self.check_schema()
        self.redis.set(keys.WRITABLE, 1, ex=_WRITABLE_S)


def ledger_scripts(redis: Any) -> ScriptRunner:
    """Return the scripts of the ledger on a client of `redis_client.connect`."""
    return ScriptRunner(redis, _LUA, libraries=_LIBRARIES, constants=lua_constants())
