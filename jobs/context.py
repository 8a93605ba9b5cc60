"""What every job needs, made once a process: settings, clients and their warm connections."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache

from jobs.leases import LeaseKeeper
from pipeline.batches.job_queue import JobQueue
from pipeline.batches.service import Service
from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.errors import InvalidSettings
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchConfig
from pipeline.net.download import Downloader
from pipeline.observability import logging
from pipeline.settings import Settings, load
from pipeline.storage.journal import Journal
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import Wiro

RETRY_TIMEOUT_S = 300.0
"""How long a worker waits for Redis to come back before it lets go of what it holds."""

stopping = threading.Event()
"""Set when this worker was asked to end: jobs claim nothing more and finish what they hold."""


@dataclass(frozen=True)
class Context:
    """The clients of one worker process. All are thread-safe."""

    settings: Settings
    ledger: Ledger
    storage: Storage
    wiro: Wiro
    downloader: Downloader
    job_queue: JobQueue
    service: Service
    leases: LeaseKeeper
    journal: Journal
    signer: CallbackSigner | None

    def callback_url(self, run: RunId) -> str | None:
        """Where the vendor is to call when `run` ends; None without a public URL."""
        if self.signer is None or self.settings.public_url is None:
            return None
        return self.signer.url(self.settings.public_url, run)


@lru_cache(maxsize=1)
def context() -> Context:
    """The context of this process, made at the first call. Raises InvalidSettings, IncompatibleSchema, Unreachable."""
    logging.configure()
    settings = load()
    service = Service.connect(settings, retry_timeout_s=RETRY_TIMEOUT_S)
    service.ledger.check_schema()
    return Context(
        settings=settings,
        ledger=service.ledger,
        storage=service.storage,
        wiro=Wiro.from_settings(settings),
        downloader=Downloader(settings.fetch_hosts, max_bytes=settings.max_output_mb * 1_000_000),
        job_queue=service.job_queue,
        service=service,
        leases=LeaseKeeper(service.ledger, settings.lease_s),
        journal=service.journal,
        signer=_signer(settings),
    )


@lru_cache(maxsize=1024)
def plan(batch_id: str) -> BatchConfig:
    """What the items of a batch share: it never changes."""
    return context().ledger.batches.config(batch_id)


def _signer(settings: Settings) -> CallbackSigner | None:
    if settings.public_url is None:
        return None
    secret = settings.secret.get_secret_value()
    if not secret:
        raise InvalidSettings("PIPELINE_PUBLIC_URL is set, so callback URLs must be signed: set PIPELINE_SECRET.")
    return CallbackSigner(secret)
