"""The jobs of a worker, run in this process as RQ runs them, until a batch has ended. Waits are skipped.

What a job raises is kept and the job is not run again, as by RQ: only the sweep and the delayed jobs go on.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import threading
from collections import Counter
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rq import Queue
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

import jobs
from jobs import deliver_notifications, make_previews, run_schedules, worker_slots
from jobs.context import Context
from jobs.leases import LeaseKeeper
from jobs.registry import FUNCTIONS
from pipeline.batches.job_queue import QUEUE, Job
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.service import Service
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BATCH_TERMINAL, ItemState
from pipeline.errors import NoSuchBatch
from pipeline.ledger import keys
from pipeline.ledger.ledger import Ledger
from pipeline.net.download import Downloader
from pipeline.schedules.scheduler import Scheduler
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import FileSource, Run, RunImage, Task, Wiro
from pipeline.wiro.errors import ResponseLost, TaskNotFound
from pipeline.wiro.tasks import TaskOutput
from support.ledger_fixtures import MODEL
from support.model_schemas import PROMPT, a_tool
from support.schedule_folder import BEFORE

PRICE = Decimal("0.09")
VIDEO = b"\0\0\0\x10ftypisom\0\0\0\0" + bytes(600)
MAX_ROUNDS = 30
ROUND = timedelta(minutes=10)
"""What a round takes by the clock of the schedules."""
LEASE_S = 0.5
_ROUNDS_AFTER_END = 3


class Vendor:
    """A vendor whose tasks succeed at once. `posts`: the callback URL of each run that it has accepted.

    The responses to runs of the items in `lost` are lost, and no callback comes for them.
    """

    def __init__(self) -> None:
        self.posts: list[str] = []
        self.lost: set[str] = set()

    def run(self, model: str, params: Any, *, image: RunImage | None = None, callback_url: str | None = None) -> Run:
        if image and image.file:
            image.file.open().read()
        self.posts.append(callback_url or "")
        if item_of(self.posts[-1]) in self.lost:
            raise ResponseLost("The response was lost.")
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


def item_of(callback_url: str) -> str:
    """Return the item of a run."""
    return callback_url.split("/")[4]


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
    """A service with real Redis and S3, a stub vendor, and one worker.

    `folder`: of the schedules. `wiro`: a client of another vendor, which puts the runs into `self.vendor.posts`.
    `day`: the time of the schedules; each round takes ten minutes.
    """

    def __init__(
        self, redis_url: str, storage: Storage, bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = Settings(
            redis_url=redis_url,
            s3_endpoint=storage._endpoint,
            output=bucket,
            purge_source=False,
            schedules=folder / "schedules.yaml",
        ).model_copy(update={"lease_s": LEASE_S})
        self.vendor, self.sender, self.day = Vendor(), Sender(), BEFORE
        service = Service.connect(settings, storage=storage)
        models = ModelCatalog(cast(Wiro, self.vendor), service.ledger.model_cache)
        self.service = replace(service, models=models)
        self.ledger: Ledger = service.ledger
        self.errors: list[Exception] = []
        self.is_working = False
        """Whether a job runs: calls of the stores at other times are those of a test."""
        self.jobs_run: set[str] = set()
        self._schedule = ""
        self.context = Context(
            service=self.service,
            wiro=cast(Wiro, self.vendor),
            downloader=cast(Downloader, Downloads()),
            leases=LeaseKeeper(self.ledger, LEASE_S * 100),
            callback_url=lambda run: f"https://we/{run.batch}/{run.item}/{run.attempt}",
            batch_config=self.ledger.batches.config,
        )
        monkeypatch.setattr(deliver_notifications, "_sender", lambda: self.sender)
        scheduler = Scheduler.of(self.service)
        monkeypatch.setattr(scheduler.store, "now", lambda: self.day)
        monkeypatch.setattr(run_schedules, "_scheduler", lambda: scheduler)
        monkeypatch.setattr(make_previews, "is_available", lambda: True)
        monkeypatch.setattr(make_previews, "_maker", lambda: SimpleNamespace(missing=lambda batch, rows: []))
        for name, module in list(sys.modules.items()):
            if name.startswith(f"{jobs.__name__}.") and hasattr(module, "context") and name != "jobs.context":
                monkeypatch.setattr(module, "context", lambda: self.context)
        self._queue = Queue(QUEUE, connection=self.service.job_queue._redis, serializer=JSONSerializer)

    def schedule(self, name: str) -> None:
        """Start a batch with one item every midnight from now on."""
        self._schedule, file = name, self.service.settings.schedules
        manifest = "version: 1\nname: night\nitems: [{id: one, prompt: x}]\n"
        (file.parent / "night.yaml").write_text(manifest)
        file.write_text(f'schedules:\n- {{name: {name}, cron: "0 0 * * *", manifest: night.yaml}}\n')
        os.utime(file, (self.day.timestamp(), self.day.timestamp()))
        self._run_job(Job.RUN_SCHEDULES)

    def midnight(self) -> datetime:
        """Go on to the next midnight, and return it."""
        self.day = self.day.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        return self.day

    def run(self, *batch_ids: str) -> list[BatchRow]:
        """Run jobs until batches have ended and nothing is left to do. Raises AssertionError if one does not end.

        A schedule may start them meanwhile.
        """
        for _ in range(MAX_ROUNDS):
            self._run_round(batch_ids)
            rows = [row for batch_id in batch_ids if (row := self._row(batch_id))]
            for row in rows:
                unposted = [item.id for item in self.ledger.items.stream(row.id, {ItemState.UNKNOWN})]
                assert Counter(self.posts(row.id)) >= Counter(unposted), f"unknown without a post: {unposted}"
            has_ended = all(row.status in BATCH_TERMINAL for row in rows) and len(rows) == len(batch_ids)
            if has_ended and not self.ledger.outbox.has_pending():
                # What follows the end of a batch; a job that failed waits for its next try.
                for _ in range(_ROUNDS_AFTER_END):
                    self._run_round(batch_ids)
                return rows
            self._skip_waits(*batch_ids)
        raise AssertionError(f"A batch does not end: {rows}; {self.errors}")

    def archive(self, batch_id: str) -> BatchRow:
        """Run jobs until a batch that ended long ago has left Redis. Raises AssertionError if it does not."""
        for _ in range(MAX_ROUNDS):
            row = self.ledger.batches.get(batch_id)
            if row.archived and self.ledger.retention.state(batch_id).is_complete:
                return row
            self._run_round(())
            self._skip_waits(batch_id)
        raise AssertionError(f"A batch does not leave Redis: {row}; {self.errors}")

    def _run_round(self, batch_ids: Collection[str]) -> None:
        self.is_working = True
        self._run_job(Job.SWEEP)
        self._run_job(Job.RUN_SCHEDULES)
        self._run_queue()
        worker_slots.wait_for_all()
        self._run_job(Job.MAKE_PREVIEWS)
        for thread in threading.enumerate():
            if thread.name == "previews":
                thread.join(10)
        self.is_working = False
        self.day += ROUND
        self._send_callbacks(batch_ids)

    def _row(self, batch_id: str) -> BatchRow | None:
        try:
            return self.ledger.batches.get(batch_id)
        except NoSuchBatch:
            return None

    def posts(self, batch_id: str) -> list[str]:
        """Return the item of each run that the vendor has accepted."""
        return [item_of(url) for url in self.vendor.posts if url.split("/")[3] == batch_id]

    def _run_queue(self) -> None:
        for job_id in self._queue.get_job_ids() + self._queue.scheduled_job_registry.get_job_ids(cleanup=False):
            job = RqJob.fetch(job_id, connection=self._queue.connection, serializer=JSONSerializer)
            name, args = job.func_name, job.args
            job.delete()
            self._run_job(str(name), *args)

    def _run_job(self, name: str, *args: str) -> None:
        self.jobs_run.add(name)
        try:
            FUNCTIONS[name](*args)
        except Exception as error:
            self.errors.append(error)

    def _send_callbacks(self, batch_ids: Collection[str]) -> None:
        for number, url in enumerate(self.vendor.posts, 1):
            batch, item, attempt = url.split("/")[3:]
            if batch in batch_ids and item not in self.vendor.lost:
                self.ledger.runs.record_callback(RunId(batch, item, int(attempt)), str(number), f"token-{number}")

    def _skip_waits(self, *batch_ids: str) -> None:
        """Make everything due that waits for a time. No worker holds anything now."""
        redis = self.ledger.redis
        pending = [f"{keys.batch_key(batch_id)}:pending" for batch_id in batch_ids]
        for key in (keys.DUE, keys.LEASES, keys.SEARCH, keys.DELIVERIES, keys.PREVIEWS, *pending):
            for member in redis.zrange(key, 0, -1):
                redis.zadd(key, {member: 1}, xx=True)
        for batch_id in batch_ids:
            redis.hdel(keys.batch_key(batch_id), "finish_until")
        for batch_id in redis.zrange(keys.BATCHES, 0, -1):
            redis.hdel(keys.batch_key(batch_id), "archive_at")
        redis.hdel(keys.ACCOUNT, "backoff_until")
        redis.hdel(keys.schedule_key(self._schedule), "lease")
        redis.delete(f"{keys.PREFIX}search_lease")
        for key in redis.scan_iter(keys.job_enqueued_key("*")):
            redis.delete(key)
