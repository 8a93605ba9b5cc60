"""The account at the vendor: its concurrency limit, backoff, pauses and spend."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from pipeline.domain.money import MAX_USD, from_pico, to_pico
from pipeline.ledger import keys
from pipeline.ledger.numbers import usd
from pipeline.ledger.records import AccountRow
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.times import moment, ms

_EPOCH = date(1970, 1, 1)
_S_PER_DAY = 86_400


class AccountStore:
    """Reads and changes the state of the account, which all batches share. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def get(self) -> AccountRow:
        """Return the state of the account."""
        limit, paused_reason, probe_at, backoff_until, backoff_reason, day_limit, day_wait = self._redis.hmget(
            keys.ACCOUNT, "window", "paused", "probe_at", "backoff_until", "trouble", "day_limit", "day_wait"
        )
        now_s = int(self._redis.time()[0])
        return AccountRow(
            active=int(self._redis.scard(keys.ACTIVE)),
            concurrency_limit=int(float(limit)) if limit else None,
            paused_reason=paused_reason,
            probe_at=moment(probe_at or 0),
            backoff_until=moment(backoff_until or 0),
            backoff_reason=backoff_reason,
            day_limit_usd=from_pico(day_limit) if day_limit and day_limit != "0" else None,
            day_spend_usd=usd(self._redis.hget(keys.SPEND, str(now_s // _S_PER_DAY))),
            waits_until=moment(day_wait) if day_wait and int(day_wait) > now_s * 1000 else None,
        )

    def spend(self, days: int) -> list[tuple[date, Decimal]]:
        """Return the cost of runs in USD on each of the last `days` days in UTC, oldest first, today last."""
        today = int(self._redis.time()[0]) // _S_PER_DAY
        numbers = range(today - days + 1, today + 1)
        costs = self._redis.hmget(keys.SPEND, numbers)
        return [(_EPOCH + timedelta(days=day), usd(cost)) for day, cost in zip(numbers, costs, strict=True)]

    def add_spend(self, cost_usd: Decimal) -> None:
        """Add the cost of a run that belongs to no batch to the cost of today."""
        self._scripts.run("add_spend", to_pico(min(cost_usd, MAX_USD)))

    def limit_concurrency(self, allowed: int | None) -> None:
        """Set the concurrency limit: at most `allowed` active runs; None: one fewer than now."""
        self._scripts.run("account_concurrency", allowed or 0)

    def back_off(self, *, first_s: float, longest_s: float, reason: str) -> None:
        """Stop submissions for `first_s` seconds, doubled with each backoff in a row, at most `longest_s`."""
        self._scripts.run("account_backoff", ms(first_s), ms(longest_s), reason)

    def pause(self, reason: str, *, probe_after_s: float = 0) -> None:
        """Stop submissions until a person resumes them or a probe, a single run, is accepted.

        The first probe starts after `probe_after_s`, each later one after twice the wait; 0: no probes.
        """
        self._scripts.run("account_pause", reason, ms(probe_after_s))

    def resume(self) -> None:
        """End a pause and a backoff."""
        pause_fields = ("paused", "probe_at", "probe_wait", "probing")
        self._redis.hdel(keys.ACCOUNT, *pause_fields, "backoff_until", "backoff_tries", "trouble")
