"""RQ as in its manual: one job per step, run by SimpleWorkers or by stock workers that fork."""

from __future__ import annotations

import os
from typing import Any

from redis import Redis
from rq import Queue

from benchmarks.peers import steps

QUEUE = "bench"
_CLIENTS: dict[str, Any] = {}


def submit(number: int, image: str) -> None:
    """Post a run and enqueue its status check."""
    _enqueue(collect, number, steps.run(number, image))


def collect(number: int, token: str) -> None:
    """Check the status; enqueue the copy or another check."""
    url = steps.detail(token)
    if url is None:
        _enqueue(collect, number, token)
    else:
        _enqueue(copy, number, url)


def copy(number: int, url: str) -> None:
    """Copy the output and count the item."""
    steps.put(f"rq/{number}.mp4", steps.get(url), _client("s3", steps.s3))
    _redis().incr("bench:done")


def _enqueue(job: Any, *args: object) -> None:
    Queue(QUEUE, connection=_redis()).enqueue(job, *args, result_ttl=0)


def _redis() -> Redis:
    client: Redis = _client("redis", lambda: Redis.from_url(os.environ["REDIS_URL"]))
    return client


def _client(name: str, make: Any) -> Any:
    if name not in _CLIENTS:
        _CLIENTS[name] = make()
    return _CLIENTS[name]
