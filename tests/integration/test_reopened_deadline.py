"""The deadline of a batch that is opened again long after its end. Real Valkey and S3."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.archiving import archive, archiving_service
from support.ended_batch import a_manifest, write_results
from support.ledger_fixtures import fail, running

from jobs import sweep
from pipeline.batches.service import Service
from pipeline.domain.model import Limits
from pipeline.domain.states import Stop
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage

DEADLINE_S = 3600.0


@pytest.fixture
def service(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Service:
    """A service with the batch `b`, created in 1970, whose item has failed."""
    service = archiving_service(redis_url, storage, s3_server, bucket)
    manifest = replace(a_manifest(one="p"), limits=Limits(deadline_s=DEADLINE_S))
    service.submission.submit(manifest, "b", trigger="cli", folder=Path())
    service.ledger.redis.hset("dailies:batch:b", "created", 1)
    service.ledger.batches.start("b", price_usd=Decimal(0), max_failures=9)
    running(service.ledger)
    fail(service.ledger, "Face not found.")
    write_results(service)
    ctx = SimpleNamespace(service=service, batch_config=service.ledger.batches.config)
    monkeypatch.setattr(sweep, "context", lambda: ctx)
    return service


@pytest.mark.parametrize("is_archived", [False, True])
def test_the_deadline_counts_from_the_reopening(service: Service, is_archived: bool) -> None:
    batches = service.ledger.batches
    if is_archived:
        archive(service)
        assert batches.get("b").archived
    assert service.control.retry("b", ["failed"]) == 1
    sweep.sweep()
    assert batches.get("b").status == "running"
    assert batches.open_for_s("b") < DEADLINE_S
    service.ledger.redis.hset("dailies:batch:b", "reopened", 1)
    sweep.sweep()
    stopped = batches.get("b")
    assert (stopped.counts, stopped.reason) == ({"cancelled": 1}, Stop.DEADLINE)
