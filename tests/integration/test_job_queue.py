"""The job queue: one pending job of a kind, delayed jobs on time."""

from __future__ import annotations

import time

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from pipeline.batches.job_queue import QUEUE, Job, JobQueue
from pipeline.ledger import redis_client


@pytest.fixture
def queue(redis_url: str) -> Queue:
    return Queue(QUEUE, connection=redis_client.connect(redis_url, decode=False), serializer=JSONSerializer)


def test_a_pending_job_is_enqueued_only_once(redis_url: str, queue: Queue) -> None:
    job_queue = JobQueue(redis_url)
    for _ in range(5):
        job_queue.enqueue_once(Job.COLLECT)
    assert queue.count == 1
    job_queue.clear_pending(Job.COLLECT)
    job_queue.enqueue_once(Job.COLLECT)
    assert queue.count == 2


@pytest.mark.parametrize("delay_s", [0.01, 1.0, 1.999])
def test_a_delayed_job_never_runs_early(redis_url: str, queue: Queue, delay_s: float) -> None:
    due = time.time() + delay_s
    JobQueue(redis_url).enqueue_in(Job.COLLECT, delay_s)
    (job_id,) = queue.scheduled_job_registry.get_job_ids()
    runs_at = queue.scheduled_job_registry.get_scheduled_time(job_id).timestamp()
    assert runs_at >= due
    assert runs_at < due + 3
