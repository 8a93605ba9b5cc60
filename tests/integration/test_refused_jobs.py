"""Jobs in Redis that are not of this service: a worker runs none of them, and goes on with the next job."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue, Repeat, Retry
from rq.job import Job as RQJob
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from pipeline.batches.job_queue import QUEUE, Job
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.ledger import redis_client
from pipeline.ledger.ledger import Ledger

WORKER = ("worker", "-c", "config.rq", "-w", "jobs.worker.NonForkingWorker", "-S", "json", "--burst", QUEUE)


@pytest.fixture
def queue(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("REDIS_URL", redis_url)
    return Queue(QUEUE, connection=redis_client.connect(redis_url, decode=False), serializer=JSONSerializer)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists when the module `hostile`, which workers can import, was imported."""
    ran = tmp_path / "ran"
    source = f"from pathlib import Path\nPath({str(ran)!r}).touch()\ndef run(*args, **kwargs): pass\n"
    (tmp_path / "hostile.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    return ran


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """The address of a server of another program, then the paths that were requested."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    seen.append(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield seen
    server.shutdown()


class Touch:
    """Pickled, it touches a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def run_worker() -> str:
    """Run a worker, started as in the Procfile, until the queue is empty. Return its log."""
    rq = Path(sys.executable).with_name("rq")
    return subprocess.run([str(rq), *WORKER], capture_output=True, text=True, timeout=300, check=True).stderr


def add_last(queue: Queue) -> RQJob:
    """Enqueue a job of the service behind the others."""
    return queue.enqueue(Job.FINISH.value, "last", job_id="last")


def is_done(job: RQJob) -> bool:
    return job.get_status() == JobStatus.FINISHED


def test_a_job_that_is_not_in_the_table_is_refused_logged_and_counted(
    redis_url: str, queue: Queue, tmp_path: Path
) -> None:
    queue.enqueue("subprocess.getoutput", f"touch {tmp_path / 'ran'}")
    queue.enqueue("jobs.tick.tick")
    last = add_last(queue)
    log = run_worker()
    assert is_done(last)
    assert not (tmp_path / "ran").exists()
    reasons = {job.job: job.why for job in QueueMonitor(redis_url).failed_jobs()}
    assert reasons.keys() == {"getoutput", "tick"}
    assert "'subprocess.getoutput', which is not in jobs.registry" in reasons["getoutput"]
    assert log.count('"event": "job_refused"') == 2
    assert QueueMonitor(redis_url).figures().failed == 2
    assert Ledger.connect(redis_url).counters.read().refused_jobs == 2


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (Job.START, [], {}),
        (Job.START, ["no-such-batch", "more"], {}),
        (Job.START, [], {"batch_id": "no-such-batch"}),
        (Job.START, [["a", "list"]], {}),
        (Job.FINISH, ["b:specs"], {}),
        (Job.FINISH, ["../b"], {}),
        (Job.FINISH, ["x" * 200], {}),
        (Job.WRITE_STATUS_FILES, ["b", "-1"], {}),
        (Job.WRITE_STATUS_FILES, ["b", "9" * 5000], {}),
        (Job.SWEEP, ["x"], {}),
        (Job.SWEEP, [], {"x": 1}),
    ],
)
def test_arguments_that_a_job_does_not_take_are_refused(
    redis_url: str, queue: Queue, function: Job, args: list[Any], kwargs: dict[str, Any]
) -> None:
    queue.enqueue(function.value, args=args, kwargs=kwargs)
    last = add_last(queue)
    assert '"event": "job_refused"' in run_worker()
    assert is_done(last)
    assert Ledger.connect(redis_url).counters.read().refused_jobs == 1


def test_a_pickled_job_is_not_loaded(redis_url: str, queue: Queue, tmp_path: Path) -> None:
    for number, data in enumerate(
        [
            pickle.dumps((Job.SWEEP.value, None, (Touch(tmp_path / "ran"),), {})),
            pickle.dumps(Touch(tmp_path / "ran")),
            json.dumps([Job.SWEEP.value]).encode(),
            json.dumps("x").encode(),
            b"",
        ]
    ):
        job = RQJob.create(Job.SWEEP.value, id=f"bad-{number}", connection=queue.connection, serializer=JSONSerializer)
        queue.enqueue_job(job)
        queue.connection.hset(job.key, "data", data)
    last = add_last(queue)
    run_worker()
    assert is_done(last)
    assert not (tmp_path / "ran").exists()
    assert Ledger.connect(redis_url).counters.read().refused_jobs == 5
    assert len(QueueMonitor(redis_url).failed_jobs()) == 5


def test_an_attribute_of_an_object_in_a_job_is_not_called(queue: Queue, hostile: Path) -> None:
    job = queue.enqueue(Job.SWEEP.value)
    queue.connection.hset(job.key, "data", json.dumps(["run", "hostile", [], {}]))
    last = add_last(queue)
    run_worker()
    assert is_done(last)
    assert not hostile.exists()


def test_callbacks_of_finished_and_of_abandoned_jobs_are_not_imported(queue: Queue, hostile: Path) -> None:
    callback = Callback("hostile.run")
    queue.enqueue(Job.START.value, "no-such-batch", on_success=callback, on_stopped=callback)
    queue.enqueue("subprocess.getoutput", on_failure=callback)
    abandoned = RQJob.create(Job.SWEEP.value, connection=queue.connection, on_failure=callback, origin=QUEUE)
    abandoned.set_status(JobStatus.STARTED)
    abandoned.save()
    queue.connection.zadd(StartedJobRegistry(queue=queue).key, {f"{abandoned.id}:execution": 1})
    run_worker()
    assert not hostile.exists()
    assert abandoned.get_status() == JobStatus.FAILED


def test_webhooks_of_jobs_are_not_requested(queue: Queue, requests: list[str]) -> None:
    address = requests[0]
    queue.enqueue(Job.START.value, "none", webhooks=[Webhook(f"{address}/finished", "finished")])
    queue.enqueue("subprocess.getoutput", webhooks=[Webhook(f"{address}/failed", "failed")])
    last = add_last(queue)
    run_worker()
    assert is_done(last)
    assert requests == [address]


def test_jobs_are_neither_repeated_nor_retried_by_rq(redis_url: str, queue: Queue) -> None:
    queue.enqueue(Job.START.value, "none", repeat=Repeat(times=1000, interval=0))
    queue.enqueue("subprocess.getoutput", retry=Retry(max=1000, interval=0))
    log = run_worker()
    assert log.count('"event": "job_refused"') == 1
    assert queue.scheduled_job_registry.count == 0
    assert QueueMonitor(redis_url).figures().failed == 1


def test_dependents_are_never_started_and_scheduled_jobs_are_refused(
    redis_url: str, queue: Queue, hostile: Path
) -> None:
    first = queue.enqueue(Job.START.value, "none")
    queue.enqueue("hostile.run", depends_on=first)
    queue.enqueue_at(datetime.now(UTC) - timedelta(minutes=1), "hostile.run")
    rq = Path(sys.executable).with_name("rq")
    subprocess.run([str(rq), *WORKER[:-1], "--with-scheduler", QUEUE], capture_output=True, timeout=300, check=True)
    assert is_done(first)
    assert not hostile.exists()
    assert Ledger.connect(redis_url).counters.read().refused_jobs == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "won"),
        ("timeout", "soon"),
        ("created_at", "yesterday"),
        ("result_ttl", "x"),
        ("worker_name", b"\xff"),
        ("origin", b"\xff\xfe"),
        ("description", "x" * 10_000_000),
        ("dependency_ids", "["),
        ("meta", "{"),
        ("retry_intervals", "["),
        ("rate_limit_concurrency", "x"),
    ],
)
def test_fields_that_cannot_be_read_do_not_end_the_worker(queue: Queue, field: str, value: str | bytes) -> None:
    job = queue.enqueue(Job.START.value, "none")
    queue.connection.hset(job.key, field, value)
    last = add_last(queue)
    assert len(run_worker()) < 100_000
    assert is_done(last)


def test_entries_of_the_queue_that_are_no_jobs_do_not_end_the_worker(redis_url: str, queue: Queue) -> None:
    queue.connection.set("rq:job:a-text", "x")
    queue.connection.rpush("rq:job:a-list", "x")
    for entry in ("a b", "", "../x", "a-text", "a-list", "gone", "x" * 100_000):
        queue.connection.rpush(queue.key, entry)
    last = add_last(queue)
    assert len(run_worker()) < 100_000
    assert is_done(last)
    assert Ledger.connect(redis_url).counters.read().refused_jobs >= 4
    assert QueueMonitor(redis_url).figures().waiting == 0
