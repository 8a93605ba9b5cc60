"""RQ as its manual has it: one job for each step. Run by SimpleWorkers, or by stock workers that fork."""

from __future__ import annotations

import os
from typing import Any

from redis import Redis
from rq import Queue

from benchmarks.peers import steps

QUEUE = "bench"
_FORKS = os.environ.get("BENCH_FORKS") == "1"
_KEPT: dict[str, Any] = {}


def submit(number: int, image: str) -> None:
    """Post a run and have it looked at."""
    _enqueue(collect, number, steps.run(number, image))


def collect(number: int, token: str) -> None:
    """Look whether it has ended, and have it copied."""
    url = steps.detail(token)
    if url is None:
        _enqueue(collect, number, token)
    else:
        _enqueue(copy, number, url)


def copy(number: int, url: str) -> None:
    """Copy its output, and count it."""
    steps.put(f"rq/{number}.mp4", steps.get(url), _kept("s3", steps.s3))
    _redis().incr("bench:done")


def _enqueue(job: Any, *args: object) -> None:
    Queue(QUEUE, connection=_redis()).enqueue(job, *args, result_ttl=0)


def _redis() -> Redis:
    client: Redis = _kept("redis", lambda: Redis.from_url(os.environ["REDIS_URL"]))
    return client


def _kept(name: str, make: Any) -> Any:
    if _FORKS:
        return make()
    if name not in _KEPT:
        _KEPT[name] = make()
    return _KEPT[name]
