"""The whole of `up` at rest: CPU, and what it asks of Redis."""

from __future__ import annotations

import time
from typing import Any

from redis import Redis

from benchmarks.environment import dailies, surroundings
from benchmarks.processes import cpu_s
from benchmarks.throughput import ours

_SETTLE_S = 5
_OURS = {"info"}
"""What only this measurement asks."""
_WORDS = {
    "workers": "rq worker",
    "web": "pipeline.web",
    "cron": "jobs.cron",
    "listener": "pipeline listen",
    "up": "pipeline up",
}
"""What stands in the command lines of each kind."""


def main(quick: bool) -> None:
    """Print the figures."""
    seconds = 5 if quick else 30
    with surroundings() as around, dailies(around) as up:
        redis = Redis.from_url(around.environment["REDIS_URL"])
        # One batch, so that every process has done what it does once.
        ours(around, 20, "warm")
        time.sleep(2 if quick else _SETTLE_S)
        kinds = {name: up.pids(words) for name, words in _WORDS.items()}
        everything = up.pids("")
        cpu, calls = {name: cpu_s(pids) for name, pids in kinds.items()}, _calls(redis)
        before, began = cpu_s(everything), time.monotonic()
        time.sleep(seconds)
        took, share = time.monotonic() - began, cpu_s(everything) - before
        after = _calls(redis)
        print(f"\nAt rest, {len(everything)} processes with two workers, {took:.0f} s")
        print(f"  CPU {100 * share / took:.2f} % of a core")
        for name, pids in kinds.items():
            print(f"    {name:<10} {100 * (cpu_s(pids) - cpu[name]) / took:.2f} %")
        counts = {name: (count - calls.get(name, 0)) / took for name, count in after.items() if name not in _OURS}
        print(f"  Redis {sum(counts.values()):.1f} commands a second, those inside scripts included:")
        for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
            if count:
                print(f"    {name:<20} {count:.2f}")


def _calls(redis: Redis) -> dict[str, int]:
    stats: dict[str, Any] = redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in stats.items()}
