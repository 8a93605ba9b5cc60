"""The application as one frozen object. Only this module wires its parts together."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.control import BatchControl
from pipeline.batches.decision_journal import DecisionLog
from pipeline.batches.job_queue import JobQueue
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.preview_requests import PreviewRequests
from pipeline.batches.recovery import Recovery
from pipeline.batches.retention import Retention
from pipeline.batches.reviews import Reviews
from pipeline.batches.submission import Submission
from pipeline.ledger.ledger import Ledger
from pipeline.previews.renderer import is_available
from pipeline.settings import Settings
from pipeline.storage.journal import Journal
from pipeline.storage.s3 import Storage


@dataclass(frozen=True)
class Service:
    """The parts of the application. All are thread-safe."""

    settings: Settings
    ledger: Ledger
    storage: Storage
    journal: Journal
    job_queue: JobQueue
    models: ModelCatalog
    submission: Submission
    recovery: Recovery
    retention: Retention
    items: BatchItems
    control: BatchControl
    reviews: Reviews
    previews: PreviewRequests

    @classmethod
    def connect(cls, settings: Settings, *, retry_timeout_s: float = 0, storage: Storage | None = None) -> Service:
        """Return the application for the servers of `settings`. Nothing is sent yet.

        `retry_timeout_s`: seconds to retry if Redis is unavailable, before Unreachable is raised. Commands and
        requests use 0, because a caller waits. Workers use more, because they hold paid runs.
        `storage`: an S3 client to share, None to create one.
        """
        ledger = Ledger.connect(settings.redis_url, retry_timeout_s=retry_timeout_s)
        storage = storage or Storage(settings.s3_endpoint)
        job_queue = JobQueue(settings.redis_url, retry_timeout_s=retry_timeout_s)
        journal = Journal(storage)
        decisions = DecisionLog(ledger, journal)
        models = ModelCatalog.of(settings, ledger.model_cache)
        submission = Submission(ledger, storage, journal, job_queue, models, settings.output, settings.max_batch_usd)
        previews = PreviewRequests(ledger.previews, job_queue, is_enabled=is_available())
        recovery = Recovery(settings, ledger, storage, models, submission, previews)
        return cls(
            settings=settings,
            ledger=ledger,
            storage=storage,
            journal=journal,
            job_queue=job_queue,
            models=models,
            submission=submission,
            recovery=recovery,
            retention=Retention(ledger, storage, settings.keep_days),
            items=BatchItems(ledger, storage),
            control=BatchControl(ledger, decisions, job_queue, recovery.restore),
            reviews=Reviews(ledger, decisions, job_queue, recovery.restore),
            previews=previews,
        )
