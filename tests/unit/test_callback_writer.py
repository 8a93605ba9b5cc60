"""One thread records the callbacks of many."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from pipeline.batches.job_queue import JobQueue
from pipeline.domain.callback_tokens import RunId
from pipeline.ledger.records import CallbackResults
from pipeline.ledger.runs import RunStore
from pipeline.web.callbacks.callback_writer import CallbackWriter

CALLBACKS = 6000


class BriefRuns:
    """Records in a tenth of a millisecond that no run is due."""

    def __init__(self) -> None:
        self.recorded: list[RunId] = []

    def record_callbacks(self, callbacks: Iterable[tuple[RunId, str, str]]) -> CallbackResults:
        self.recorded += [run for run, _, _ in callbacks]
        time.sleep(0.0001)
        return CallbackResults(collect=False, search=False)


@pytest.fixture
def _frequent_thread_switches() -> Iterator[None]:
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("_frequent_thread_switches")
def test_no_callback_is_left_behind_when_threads_switch_at_any_moment() -> None:
    runs = BriefRuns()
    writer = CallbackWriter(cast(RunStore, runs), cast(JobQueue, None))
    sent = [RunId("b", f"i{number}", 1) for number in range(CALLBACKS)]
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lambda run: writer.record(run, "", ""), sent))
    assert len(runs.recorded) == CALLBACKS
    assert set(runs.recorded) == set(sent)
