"""The account at the vendor: its concurrency limit, backoff, pauses and spend."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from pipeline.domain.money import from_pico
from pipeline.ledger.keys import PREFIX
from pipeline.ledger.records import AccountRow, moment, ms
from pipeline.ledger.scripts import ScriptRunner


class AccountStore:
    """Reads and changes the state of the account, which all batches share. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def get(self) -> AccountRow:
        """How the account is doing."""
        concurrency_limit, paused, probe_at, until, backoff_reason = self._redis.hmget(
            f"{PREFIX}account", "window", "paused", "probe_at", "backoff_until", "trouble"
        )
        active = int(self._redis.scard(f"{PREFIX}active"))
        return AccountRow(
            active,
            int(float(concurrency_limit)) if concurrency_limit else None,
            paused,
            moment(probe_at or 0),
            moment(until or 0),
            backoff_reason,
        )

    def spend(self, days: int) -> list[tuple[date, Decimal]]:
        """What runs cost on each of the last `days` days in UTC, oldest first, today last."""
        today = int(self._redis.time()[0]) // 86_400
        wanted = range(today - days + 1, today + 1)
        costs = self._redis.hmget(f"{PREFIX}spend", wanted)
        return [(_day(day), from_pico(cost or "0")) for day, cost in zip(wanted, costs, strict=True)]

    def limit_concurrency(self, allowed: int | None) -> None:
        """The vendor allows no more than `allowed` runs at a time (None: fewer than now)."""
        self._scripts.run("trouble", "window", allowed or 0)

    def back_off(self, *, first_s: float, longest_s: float, reason: str) -> None:
        """Submit nothing for a while, longer each time in a row."""
        self._scripts.run("trouble", "backoff", ms(first_s), ms(longest_s), reason)

    def pause(self, reason: str, *, probe_after_s: float = 0) -> None:
        """Submit nothing until a person resumes or a probe, a single run, succeeds.

        The first probe is made after `probe_after_s`, later ones less and less often; 0: none is.
        """
        self._scripts.run("trouble", "pause", reason, ms(probe_after_s))

    def resume(self) -> None:
        """Submit again: end a pause and a backoff."""
        self._redis.hdel(
            f"{PREFIX}account",
            *("paused", "probe_at", "probe_wait", "probing", "backoff_until", "backoff_tries", "trouble"),
        )


def _day(since_1970: int) -> date:
    return date(1970, 1, 1) + timedelta(days=since_1970)
