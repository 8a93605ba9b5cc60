"""Celery: one task per step, two prefork processes."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import Celery
from redis import Redis

from benchmarks.peers import steps


def _broker(redis_url: str) -> str:
    """Return the URL of redis-py for a socket as Celery writes it."""
    url = urlsplit(redis_url)
    (password,) = parse_qs(url.query)["password"]
    return f"redis+socket://:{password}@{url.path}?virtual_host=0"


app = Celery("bench", broker=_broker(os.environ["REDIS_URL"]))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=16, broker_connection_retry_on_startup=True)
_CLIENTS: dict[str, Any] = {}


@app.task
def submit(number: int, image: str) -> None:
    """Post a run and enqueue its status check."""
    collect.delay(number, steps.run(number, image))


@app.task
def collect(number: int, token: str) -> None:
    """Check the status; enqueue the copy or another check."""
    url = steps.detail(token)
    if url is None:
        collect.apply_async((number, token), countdown=0.05)
    else:
        copy.delay(number, url)


@app.task
def copy(number: int, url: str) -> None:
    """Copy the output and count the item."""
    if not _CLIENTS:
        _CLIENTS.update(s3=steps.s3(), redis=Redis.from_url(os.environ["REDIS_URL"]))
    steps.put(f"celery/{number}.mp4", steps.get(url), _CLIENTS["s3"])
    _CLIENTS["redis"].incr("bench:done")
