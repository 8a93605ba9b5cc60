"""Loops of the processes go on after an unforeseen exception, and what failed is done later."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs
from support.schedule_folder import BEFORE, MIDNIGHT, MINUTE, ScheduleFolder
from support.waiting import WaitFor

from jobs.cron import scheduler
from pipeline.batches.job_queue import QUEUE
from pipeline.schedules.store import ScheduleStore
from pipeline.triggers import listener
from pipeline.triggers.listener import Listener
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.web.api import sse_subscriptions
from pipeline.web.api.sse_subscriptions import SseSubscriptions


class Odd(KeyError):
    """An exception that no code expects."""


class FailingFirst:
    """Raises Odd in the first `times` calls, then calls `work`."""

    def __init__(self, work: Any, times: int = 1) -> None:
        self._work, self._left = work, times

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            raise Odd("injected")
        return self._work(*args, **options)


def test_a_schedule_that_fails_for_minutes_loses_no_occurrence(
    schedule_folder: ScheduleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule_folder.nightly()
    runner = schedule_folder.scheduler()
    runner.start_due(BEFORE)
    monkeypatch.setattr(runner.store, "record_occurrences", FailingFirst(runner.store.record_occurrences, times=9))
    with capture_logs():
        for number in range(10):
            runner.start_due(MIDNIGHT + number * MINUTE)
    assert schedule_folder.batches() == ["nightly-20260727T0000Z"]


def test_a_schedule_that_fails_does_not_stop_the_others(
    schedule_folder: ScheduleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule_folder.schedules(*(f'name: {name}, cron: "0 0 * * *", manifest: m.yaml' for name in ("one", "two")))
    runner = schedule_folder.scheduler()
    runner.start_due(BEFORE)
    monkeypatch.setattr(runner.store, "read", FailingFirst(runner.store.read))
    with capture_logs():
        runner.start_due(MIDNIGHT)
    assert schedule_folder.batches() == ["two-20260727T0000Z"]
    assert ScheduleStore.connect(schedule_folder.settings.redis_url).file().evaluated_at == BEFORE
    runner.start_due(MIDNIGHT + timedelta(minutes=1))
    assert schedule_folder.batches() == ["one-20260727T0000Z", "two-20260727T0000Z"]


def test_a_periodic_job_that_cannot_be_enqueued_does_not_stop_the_other(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cron = scheduler(Redis.from_url(redis_url), sweep_every_s=30)
    queue = Queue(QUEUE, connection=cron.connection, serializer=JSONSerializer)
    monkeypatch.setattr(Queue, "enqueue", FailingFirst(queue.enqueue))
    with capture_logs() as logs:
        due = cron.enqueue_jobs()
    enqueued = [log["job"] for log in logs if log["event"] == "job_enqueued"]
    failed = [log["job"] for log in logs if log["event"] == "job_not_enqueued"]
    assert len(enqueued) == len(due) - 1
    assert len(failed) == 1


def test_the_listener_goes_on_after_its_file_could_not_be_used(
    tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_RELOAD_INTERVAL_S", 0.01)
    rule_loader, stopping, loads = RuleLoader(tmp_path / "triggers.yaml"), threading.Event(), []

    def rules() -> tuple[Any, ...]:
        loads.append(1)
        if len(loads) == 1:
            raise Odd("injected")
        return ()

    monkeypatch.setattr(rule_loader, "rules", rules)
    process = Listener(rule_loader, None, lambda: None)  # type: ignore[arg-type]
    with capture_logs():
        thread = threading.Thread(target=process.run, args=(stopping,), daemon=True)
        thread.start()
        wait_for(lambda: len(loads) > 2, "the file is read again")
        stopping.set()
        thread.join(10)
    assert not thread.is_alive()


def test_rules_in_force_stay_if_the_new_file_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.triggers.rule_loader.load", FailingFirst(lambda file: ()))
    loader = RuleLoader(tmp_path / "triggers.yaml")
    with capture_logs():
        assert loader.rules() == ()
    assert loader.error() == "Odd('injected')"


def test_an_event_stream_goes_on_after_a_record_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_subscriptions, "POLL_S", 0.02)
    texts = {"good": ["one", "two", "end"], "bad": ["one", "odd", "odd", "two", "end"]}

    def read(batch_id: str) -> tuple[str, bool]:
        text = texts[batch_id].pop(0)
        if text == "odd":
            raise Odd("injected")
        return text, text == "end"

    subscriptions = SseSubscriptions(read, 4, threading.Event())
    followed = {batch_id: subscriptions.follow(batch_id) for batch_id in texts}
    with capture_logs() as logs:
        seen = {batch_id: [text for text in one if text][-1] for batch_id, one in followed.items()}
    assert seen == {"good": "end", "bad": "end"}
    assert [log["batch"] for log in logs if log["event"] == "batch_not_read"] == ["bad"], "once for one outage"
