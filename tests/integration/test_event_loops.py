"""Every loop over rules, messages, objects, schedules and callbacks: one bad member, and the others go on.

LOOPS is the list of them; `test_loops.py` has those of the ledger and of jobs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.images import a_jpeg
from support.inbox import Inbox
from support.ledger_fixtures import a_batch, dues, running
from support.loop_servers import Servers
from support.schedule_folder import BEFORE, MIDNIGHT, ScheduleFolder

from pipeline.domain.callback_tokens import RunId
from pipeline.errors import StorageError
from pipeline.ledger.keys import PREFIX, batch_key
from pipeline.schedules.summary import summary
from pipeline.triggers.dispatch import Dispatcher, EventOutcome
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.sqs import _handle
from pipeline.web.callbacks.callback_writer import CallbackWriter


def rules_of_an_event(on: Servers) -> None:
    """dispatch.py: the rules that cover an object."""
    event = on.inbox.put("1.yaml")
    on.failing_for(on.inbox.dispatcher.store, "record_objects", "'one-")
    rules = [replace(on.inbox.rule(), name=name) for name in ("one", "two")]
    with pytest.raises(RuntimeError):
        on.inbox.dispatcher.handle(event, rules)
    assert [one.rpartition("-")[0] for one in on.inbox.batches()] == ["two"]


def records_of_a_message(on: Servers) -> None:
    """sqs.py, s3_events.py and events.py: records of a message, one of them with invalid fields, one that fails."""
    events = [on.inbox.put(f"{n}.yaml", f"version: 1\nname: n{n}\nitems: [{{prompt: x}}]\n".encode()) for n in range(3)]
    document = json.loads(on.inbox.notification(*events))
    document["Records"].insert(0, {"s3": "?"})
    on.failing_for(on.inbox.storage, "get_with_info", "1.yaml", StorageError("S3 is away", retryable=True))
    for _ in range(3):
        _handle(json.dumps(document), on.inbox.dispatcher, [on.inbox.rule()])
    assert len(on.inbox.batches()) == 2
    (one,) = on.ledger.set_aside.newest(9)
    assert (one.queue, one.reason) == ("messages of SQS", "The message has no 's3'.")


def listed_objects(on: Servers) -> None:
    """prefix_poller.py: listed objects, in chunks."""
    on.patch.setattr("pipeline.triggers.prefix_poller._CHUNK", 1)
    for n in range(3):
        on.inbox.put(f"{n}.yaml", f"version: 1\nname: n{n}\nitems: [{{prompt: x}}]\n".encode())
    on.inbox.put("0.txt")
    on.failing_for(on.inbox.storage, "get_with_info", "0.yaml")
    poller = PrefixPoller(Rule("inbox", Source.LISTING, on.inbox.watch, Start.MANIFEST, every_s=1))
    poller.run_once(on.inbox.dispatcher, threading.Event())
    poller.close()
    assert len(on.inbox.batches()) == 2


def gather_windows(on: Servers) -> None:
    """dispatch.py: closed gather windows, and the objects of one."""
    rule = on.inbox.images(gather_s=0.001)
    store = on.inbox.dispatcher.store
    for n in range(2):
        assert on.inbox.handle(on.inbox.put(f"{n}.jpg", a_jpeg(n)), rule) is EventOutcome.GATHERED
        (*_, number) = store.closed_windows("inbox", -1)
        on.redis.hset(f"{PREFIX}trigger:inbox:window:{number}", f"bad{n}", "{")
    on.failing_for(Dispatcher, "_submit_images", "/0.jpg")
    with pytest.raises(RuntimeError):
        on.inbox.dispatcher.submit_gathered(rule)
    assert len(on.inbox.batches()) == 1
    assert on.is_named("bad0", "bad1")


def schedules(on: Servers) -> None:
    """scheduler.py and summary.py: the schedules of the file; store.py: what one has stored."""
    names = ("bad", "odd", "good")
    on.schedules.schedules(*(f'name: {name}, cron: "0 0 * * *", manifest: m.yaml' for name in names))
    scheduler = on.schedules.scheduler()
    scheduler.start_due(BEFORE)
    on.wrong_type(f"{PREFIX}schedule:bad:waiting")
    on.redis.zadd(f"{PREFIX}schedule:odd:waiting", {"yesterday": 1})
    on.redis.hset(f"{PREFIX}schedule:odd:tries", "never", "x")
    on.redis.rpush(f"{PREFIX}schedule:odd:records", "{")
    scheduler.start_due(MIDNIGHT)
    assert on.schedules.batches() == ["good-20260727T0000Z", "odd-20260727T0000Z"]
    assert on.is_named("yesterday", "never", "{")


def batches_of_a_schedule(on: Servers) -> None:
    """store.py and summary.py: the batches that a schedule has started."""
    on.schedules.often(", overlap: skip")
    scheduler = on.schedules.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    (batch_id,) = on.schedules.batches()
    on.wrong_type(batch_key(batch_id))
    assert on.schedules.store.running("often") == []
    assert summary(on.schedules.file, on.schedules.store, on.ledger.batches, MIDNIGHT).schedules


# Web


def callbacks(on: Servers) -> None:
    """callback_writer.py: callbacks that arrive together."""
    a_batch(on.ledger)
    claimed = running(on.ledger, poll_after_s=600)
    release, failures = threading.Event(), []
    record = on.ledger.runs.record_callbacks

    def one_is_bad(group: list[Any]) -> Any:
        release.wait(30)
        if any(task == "bad" for _, task, _ in group):
            raise ValueError("it cannot be encoded")
        return record(group)

    on.patch.setattr(on.ledger.runs, "record_callbacks", one_is_bad)
    writer = CallbackWriter(on.ledger.runs, on.service.job_queue)

    def send(run: RunId, task: str) -> None:
        try:
            writer.record(run, task, "")
        except ValueError:
            failures.append(run.item)

    threads = [
        threading.Thread(target=send, args=(claim.run, "bad" if claim.run.item == "i1" else "")) for claim in claimed
    ]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join(30)
    assert failures == ["i1"]
    assert {due.run.item for due in dues(on.ledger)} == {"i0", "i2"}


LOOPS: list[Callable[[Servers], None]] = [
    rules_of_an_event, records_of_a_message, listed_objects, gather_windows, schedules, batches_of_a_schedule,
    callbacks,
]  # fmt: skip


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_one_bad_event_or_schedule_stops_no_other(
    inbox: Inbox, schedule_folder: ScheduleFolder, monkeypatch: pytest.MonkeyPatch, loop: Callable[[Servers], None]
) -> None:
    loop(Servers(inbox, schedule_folder, monkeypatch))
