"""The jobs of a worker, run in this process as RQ runs them, until a batch has ended. Waits are skipped.

What a job raises is kept and the job is not run again, as by RQ: only the sweep and the delayed jobs go on.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rq import Queue
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

import jobs
from jobs import deliver_notifications, worker_slots
from jobs.context import Context
from jobs.leases import LeaseKeeper
from jobs.registry import FUNCTIONS
from pipeline.batches.job_queue import QUEUE, Job
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.service import Service
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BATCH_TERMINAL, ItemState
from pipeline.ledger import keys
from pipeline.ledger.ledger import Ledger
from pipeline.net.download import Downloader
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import FileSource, Run, RunImage, Task, Wiro
from pipeline.wiro.errors import TaskNotFound
from pipeline.wiro.tasks import TaskOutput
from support.ledger_fixtures import MODEL
from support.model_schemas import PROMPT, a_tool

PRICE = Decimal("0.09")
VIDEO = b"\0\0\0\x10ftypisom\0\0\0\0" + bytes(600)
MAX_ROUNDS = 30
LEASE_S = 0.5


class Vendor:
    """A vendor whose tasks succeed at once. `posts`: the callback URL of each run that it has accepted."""

    def __init__(self) -> None:
        self.posts: list[str] = []

    def run(self, model: str, params: Any, *, image: RunImage | None = None, callback_url: str | None = None) -> Run:
        if image and image.file:
            image.file.open().read()
        self.posts.append(callback_url or "")
        return Run(str(len(self.posts)), f"token-{len(self.posts)}")

    def task(self, *, token: str = "", task_id: str = "") -> Task:
        number = int(task_id or token.rpartition("-")[2] or 0)
        if not 0 < number <= len(self.posts):
            raise TaskNotFound
        output = TaskOutput("0.mp4", "video/mp4", len(VIDEO), f"https://cdn1.wiro.ai/{number}/0.mp4")
        return Task(
            id=str(number), token=f"token-{number}", status="task_postprocess_end", pexit="0", cost_usd=PRICE,
            elapsed_s=Decimal(1), created=None, started=None, finished=None, callback_url=self.posts[number - 1],
            outputs=(output,), failure_reason="", model=MODEL,
        )  # fmt: skip

    def list_tasks(self, *, start: int = 0, limit: int = 100) -> list[Task]:
        return [self.task(task_id=str(number)) for number in range(len(self.posts), 0, -1)][start : start + limit]

    def create_folder(self, name: str) -> str:
        return "folder"

    def upload(self, file: FileSource, folder: str = "") -> str:
        file.open().read()
        return f"https://cdn1.wiro.ai/inputs/{file.name}"

    def tool_detail(self, model: str) -> dict[str, Any]:
        return a_tool(PROMPT)


class Downloads:
    """A CDN that has every output."""

    def open(self, url: str, *, size: int | None = None) -> Any:
        digest = hashlib.sha256(VIDEO).hexdigest()
        file = io.BytesIO(VIDEO)
        return nullcontext(
            SimpleNamespace(head=lambda: VIDEO[:512], read=file.read, sent_type="", sha256=digest, host="cdn1.wiro.ai")
        )


class Sender:
    """Counts the notifications that were sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, url: str, row: BatchRow, results: str) -> None:
        self.sent.append(row.id)


class JobLoop:
    """A service with real Redis and S3, a stub vendor, and one worker."""

    def __init__(self, redis_url: str, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings(redis_url=redis_url, s3_endpoint=storage._endpoint, output=bucket, purge_source=False)
        settings = settings.model_copy(update={"lease_s": LEASE_S})
        self.vendor, self.sender = Vendor(), Sender()
        service = Service.connect(settings, storage=storage)
        models = ModelCatalog(cast(Wiro, self.vendor), service.ledger.model_cache)
        self.service = replace(service, models=models)
        self.ledger: Ledger = service.ledger
        self.errors: list[Exception] = []
        self.is_working = False
        """Whether a job runs: calls of the stores at other times are those of a test."""
        self.context = Context(
            service=self.service,
            wiro=cast(Wiro, self.vendor),
            downloader=cast(Downloader, Downloads()),
            leases=LeaseKeeper(self.ledger, LEASE_S * 100),
            callback_url=lambda run: f"https://we/{run.batch}/{run.item}/{run.attempt}",
            batch_config=self.ledger.batches.config,
        )
        monkeypatch.setattr(deliver_notifications, "_sender", lambda: self.sender)
        for name, module in list(sys.modules.items()):
            if name.startswith(f"{jobs.__name__}.") and hasattr(module, "context") and name != "jobs.context":
                monkeypatch.setattr(module, "context", lambda: self.context)
        self._queue = Queue(QUEUE, connection=self.service.job_queue._redis, serializer=JSONSerializer)

    def run(self, batch_id: str) -> BatchRow:
        """Run jobs until the batch has ended and nothing is left to do. Raises AssertionError if it does not end."""
        for _ in range(MAX_ROUNDS):
            self.is_working = True
            self._run_job(Job.SWEEP)
            self._run_queue()
            worker_slots.wait_for_all()
            self.is_working = False
            self._send_callbacks()
            unposted = [row.id for row in self.ledger.items.stream(batch_id, {ItemState.UNKNOWN})]
            assert Counter(self.posts(batch_id)) >= Counter(unposted), f"unknown without a post: {unposted}"
            row = self.ledger.batches.get(batch_id)
            if row.status in BATCH_TERMINAL and not self.ledger.outbox.has_pending():
                return row
            self._skip_waits(batch_id)
        raise AssertionError(f"The batch does not end: {row}; {self.errors}")

    def posts(self, batch_id: str) -> list[str]:
        """Return the item of each run that the vendor has accepted."""
        return [url.split("/")[4] for url in self.vendor.posts if url.split("/")[3] == batch_id]

    def _run_queue(self) -> None:
        for job_id in self._queue.get_job_ids() + self._queue.scheduled_job_registry.get_job_ids(cleanup=False):
            job = RqJob.fetch(job_id, connection=self._queue.connection, serializer=JSONSerializer)
            name, args = job.func_name, job.args
            job.delete()
            self._run_job(str(name), *args)

    def _run_job(self, name: str, *args: str) -> None:
        try:
            FUNCTIONS[name](*args)
        except Exception as error:
            self.errors.append(error)

    def _send_callbacks(self) -> None:
        for number, url in enumerate(self.vendor.posts, 1):
            batch, item, attempt = url.split("/")[3:]
            args = (RunId(batch, item, int(attempt)), str(number), f"token-{number}")
            self.ledger.runs.record_callback(*args)

    def _skip_waits(self, batch_id: str) -> None:
        """Make everything due that waits for a time. No worker holds anything now."""
        redis = self.ledger.redis
        for key in (keys.DUE, keys.LEASES, keys.SEARCH, keys.DELIVERIES, f"{keys.batch_key(batch_id)}:pending"):
            for member in redis.zrange(key, 0, -1):
                redis.zadd(key, {member: 1}, xx=True)
        redis.hdel(keys.batch_key(batch_id), "finish_until")
        redis.hdel(keys.ACCOUNT, "backoff_until")
        for key in redis.scan_iter(keys.job_enqueued_key("*")):
            redis.delete(key)
