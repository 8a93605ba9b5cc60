"""1000 objects at once, three events for each in random order, two listeners, one of them killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.images import JPEG
from support.inbox import MANIFEST, Inbox
from support.processes import ROOT, bare_environment, s3_environment, until
from support.sqs_queues import Sqs

from pipeline.local.servers import S3Env
from pipeline.triggers.events import ObjectEvent
from pipeline.triggers.object_version import ObjectVersion, batch_id

OBJECTS = 1000
TIMEOUT_S = 300
"""On an idle machine 30 s are enough."""
QUICK = "from pipeline.triggers import sqs; sqs.LONG_POLL_S, sqs.VISIBILITY_TIMEOUT_S, sqs._EXTEND_INTERVAL_S = 1, 5, 1"
LISTEN = [sys.executable, "-c", f"{QUICK}; from pipeline.cli.main import main; main(['listen'])"]


@pytest.fixture
def queue(aws: str, storage: object, tmp_path: Path) -> Sqs:
    return Sqs(aws, tmp_path.name)


@pytest.fixture
def environment(aws: str, inbox: Inbox, s3_server: S3Env) -> dict[str, str]:
    settings = inbox.settings
    return {
        **bare_environment(),
        **s3_environment(s3_server),
        "AWS_ENDPOINT_URL_SQS": aws,
        "REDIS_URL": settings.redis_url,
        "PIPELINE_OUTPUT": settings.output or "",
        "PIPELINE_TRIGGERS": str(settings.triggers),
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def listeners(environment: dict[str, str], tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "listen.log").open("wb"))
        started = [subprocess.Popen(LISTEN, env=environment, stdout=log, stderr=log, cwd=ROOT) for _ in range(2)]
        yield started
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def put_all(inbox: Inbox, suffix: str, data: bytes) -> list[ObjectEvent]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda n: inbox.put(f"{n:04}{suffix}", data + b"# %d\n" % n), range(OBJECTS)))


def send_events_three_times(inbox: Inbox, events: list[ObjectEvent], queue: Sqs) -> None:
    repeated = events * 3
    random.shuffle(repeated)
    # Ten events per message: moto takes seconds for every step of a queue of thousands.
    queue.send(*(inbox.notification(*repeated[first : first + 10]) for first in range(0, len(repeated), 10)))


def count_batches(inbox: Inbox) -> int:
    return int(inbox.dispatcher.store._redis.zcard("dailies:batches"))


def test_a_thousand_manifests_are_a_thousand_batches(
    inbox: Inbox, queue: Sqs, listeners: list[subprocess.Popen[bytes]]
) -> None:
    events = put_all(inbox, ".yaml", MANIFEST)
    send_events_three_times(inbox, events, queue)
    inbox.settings.triggers.write_text(
        f"triggers: [{{name: queue, source: sqs, queue_url: '{queue.url}', watch: '{inbox.watch}', start: manifest}}]\n"
    )
    until(lambda: count_batches(inbox) > OBJECTS // 3, "a third of the batches", TIMEOUT_S)
    listeners[0].send_signal(signal.SIGKILL)
    until(lambda: queue.left() == 0, "the queue to be empty", TIMEOUT_S)
    expected = {batch_id("queue", [ObjectVersion(event.bucket, event.key, event.etag)]) for event in events}
    assert len(expected) == OBJECTS
    batches = inbox.batches()
    assert sorted(batches) == sorted(expected)
    assert all(inbox.service.ledger.batches.is_accepted(batch) for batch in batches)
    assert all(inbox.dispatcher.store.is_reported(batch) for batch in batches)


def test_a_thousand_images_are_each_in_one_gathered_batch(
    inbox: Inbox, queue: Sqs, listeners: list[subprocess.Popen[bytes]]
) -> None:
    events = put_all(inbox, ".jpg", JPEG)
    send_events_three_times(inbox, events, queue)
    inbox.settings.triggers.write_text(
        f"triggers: [{{name: faces, source: sqs, queue_url: '{queue.url}', watch: '{inbox.watch}', start: images,"
        " prompts: [smiles], gather_s: 1}]\n"
    )
    until(lambda: count_batches(inbox) > 0, "the first batch", TIMEOUT_S)
    listeners[0].send_signal(signal.SIGKILL)
    until(lambda: queue.left() == 0, "the queue to be empty", TIMEOUT_S)

    def images() -> list[str]:
        return [row.image or "" for batch in inbox.batches() for row in inbox.service.ledger.items.stream(batch)]

    until(lambda: len(images()) >= OBJECTS, "every image in a batch", TIMEOUT_S)
    assert sorted(images()) == sorted(event.uri for event in events)
