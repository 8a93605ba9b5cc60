"""Jobs in Redis that are not in `jobs.registry`: a worker runs none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rq import Callback, Queue
from rq.job import Job as RQJob
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from pipeline.batches.job_queue import QUEUE, Job
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.ledger import redis_client

WORKER = ("worker", "-c", "config.rq", "-w", "jobs.worker.NonForkingWorker", "-S", "json", "--burst", QUEUE)


@pytest.fixture
def queue(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("REDIS_URL", redis_url)
    return Queue(QUEUE, connection=redis_client.connect(redis_url, decode=False), serializer=JSONSerializer)


def run_worker() -> str:
    """Run a worker, started as in the Procfile, until the queue is empty. Return its log."""
    rq = Path(sys.executable).with_name("rq")
    return subprocess.run([str(rq), *WORKER], capture_output=True, text=True, timeout=300, check=True).stderr


def test_a_job_that_is_not_in_the_table_is_refused_and_logged(redis_url: str, queue: Queue, tmp_path: Path) -> None:
    queue.enqueue("subprocess.getoutput", f"touch {tmp_path / 'ran'}")
    queue.enqueue("jobs.tick.tick")
    log = run_worker()
    assert not (tmp_path / "ran").exists()
    letters = {letter.job: letter.why for letter in QueueMonitor(redis_url).dead_letters()}
    assert letters.keys() == {"getoutput", "tick"}
    assert "'subprocess.getoutput', which is not in jobs.registry" in letters["getoutput"]
    assert log.count('"event": "job_refused"') == 2
    assert QueueMonitor(redis_url).figures().failed == 2


def test_callbacks_of_finished_and_of_abandoned_jobs_are_not_imported(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    hostile = Callback("hostile.run")
    queue.enqueue(Job.START.value, "no-such-batch", on_success=hostile)
    queue.enqueue("subprocess.getoutput", on_failure=hostile)
    abandoned = RQJob.create(Job.SWEEP.value, connection=queue.connection, on_failure=hostile, origin=QUEUE)
    abandoned.set_status(JobStatus.STARTED)
    abandoned.save()
    queue.connection.zadd(StartedJobRegistry(queue=queue).key, {f"{abandoned.id}:execution": 1})
    run_worker()
    assert not (tmp_path / "ran").exists()
    assert abandoned.get_status() == JobStatus.FAILED
