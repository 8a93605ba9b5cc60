"""The clients of a worker process: connected at the first call and shared by all jobs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from jobs.leases import LeaseKeeper
from jobs.recent_refusals import RecentRefusals
from jobs.run_outcomes import PostOutcome
from pipeline.batches.service import Service
from pipeline.domain import retry_policy
from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.errors import InvalidSettings
from pipeline.ledger.records import BatchConfig, SubmissionLease
from pipeline.net.download import Downloader
from pipeline.observability import logging
from pipeline.settings import Settings, load
from pipeline.wiro.client import Wiro

RETRY_TIMEOUT_S = 300.0
"""How long a worker retries requests to Redis before it raises Unreachable."""
_MAX_CACHED_CONFIGS = 1024

UnpostedRuns = deque[tuple[SubmissionLease, PostOutcome]]

stopping = threading.Event()
"""Set when this worker must stop: jobs claim nothing more and finish the items that they hold."""


@dataclass(frozen=True)
class Context:
    """What jobs need besides the service. All parts are thread-safe."""

    service: Service
    wiro: Wiro
    downloader: Downloader
    leases: LeaseKeeper
    callback_url: Callable[[RunId], str | None]
    """The URL that the vendor posts to when a run ends; None without a public URL."""
    batch_config: Callable[[str], BatchConfig]
    """The configuration of a batch, by its id. It never changes, so it is cached."""
    refusals: RecentRefusals = field(default_factory=RecentRefusals)
    unposted: UnpostedRuns = field(default_factory=deque)
    """Runs that were not posted, and that could not be given back yet."""

    def poll_delay_s(self, age_s: float) -> float:
        """Return the delay in seconds before the next poll of a run that was posted `age_s` seconds ago."""
        settings = self.service.settings
        return retry_policy.poll_delay(
            age_s, expects_callback=settings.public_url is not None, poll_after_s=settings.poll_after_s
        )


@lru_cache(maxsize=1)
def context() -> Context:
    """Return the context of this process, made at the first call.

    Raises InvalidSettings, IncompatibleSchema and Unreachable.
    """
    logging.configure()
    settings = load()
    service = Service.connect(settings, retry_timeout_s=RETRY_TIMEOUT_S)
    service.ledger.check_schema()
    return Context(
        service=service,
        wiro=Wiro.from_settings(settings),
        downloader=Downloader(settings.fetch_hosts, max_bytes=settings.max_output_mb * 1_000_000),
        leases=LeaseKeeper(service.ledger, settings.lease_s),
        callback_url=_callback_url(settings),
        batch_config=lru_cache(_MAX_CACHED_CONFIGS)(service.ledger.batches.config),
    )


def _callback_url(settings: Settings) -> Callable[[RunId], str | None]:
    public_url = settings.public_url
    if public_url is None:
        return lambda run: None
    secret = settings.secret.get_secret_value()
    if not secret:
        raise InvalidSettings("PIPELINE_PUBLIC_URL is set, so callback URLs must be signed: set PIPELINE_SECRET.")
    signer = CallbackSigner(secret)
    return lambda run: signer.url(public_url, run)
