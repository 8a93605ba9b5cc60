"""Prefect 3 as in its manual: a flow that maps one task per step over the items, with its own server."""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from typing import Any

from prefect import flow, task, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from benchmarks.peers import steps


@task
def submit(number: int, image: str) -> str:
    """Post a run. Return its token."""
    return steps.run(number, image)


@task
def collect(token: str) -> str:
    """Wait for the end of the run. Return the URL of its output."""
    while (url := steps.detail(token)) is None:
        time.sleep(0.05)
    return url


@task
def copy(number: int, url: str) -> None:
    """Copy the output."""
    steps.put(f"prefect/{number}.mp4", steps.get(url), _s3())


@lru_cache(maxsize=1)
def _s3() -> Any:
    return steps.s3()


@flow(task_runner=ThreadPoolTaskRunner(max_workers=16))
def items(count: int, image: str) -> None:
    """Run all steps of all items."""
    numbers = list(range(count))
    urls = collect.map(submit.map(numbers, unmapped(image)))
    copy.map(numbers, urls).wait()


def main(count: int, image: str) -> None:
    """Print items per second."""
    items(2, image)
    began = time.perf_counter()
    items(count, image)
    print(count / (time.perf_counter() - began))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
