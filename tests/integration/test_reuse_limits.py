"""Limits of `reuse`: the search for outputs, the estimate, the probe of a paused account. Real Valkey and S3."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.api_client import api_client, api_settings, body
from support.ledger_fixtures import a_batch, a_probe, claims, dues
from support.manifests import parse_manifest
from support.waiting import WaitFor

from jobs import reuse
from jobs.context import Context
from pipeline.batches.pricing import BatchEstimate
from pipeline.batches.reuse_keys import reuse_key
from pipeline.batches.service import Service
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Source, SubmissionLease
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import ObjectInfo, Storage

ETAG = '"an-etag"'
OUTPUTS: dict[str, Any] = {"status": "succeeded", "elapsed_s": 1, "outputs": []}


def bought(ledger: Ledger, *digests: str) -> None:
    """Add to the index that the items `first/0`, `first/1`, … have bought these runs."""
    found = [(digest, Source(f"first/{n}", "task", OUTPUTS)) for n, digest in enumerate(digests)]
    ledger.reusable.add(found, datetime.now(UTC))


# The probe of a paused account


def reused(ledger: Ledger, lease: SubmissionLease) -> bool:
    (given,) = ledger.reusable.assign_to_leased("b", [replace(lease, reuse_key="a" * 32)])
    return given is not None


def test_an_item_whose_outputs_are_reused_is_no_probe(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=3)
    bought(ledger, "a" * 32)
    first = a_probe(ledger, wait_for)
    assert claims(ledger) == []
    assert reused(ledger, first)
    (second,) = claims(ledger)
    assert claims(ledger) == [], "one probe at a time"
    assert ledger.account.get().paused_reason, "no run was accepted yet"
    ledger.runs.accept(second.run, second.lease, "task", "token", 60)
    assert ledger.account.get().paused_reason is None


def test_a_reused_item_that_was_leased_before_the_pause_starts_no_second_probe(
    ledger: Ledger, wait_for: WaitFor
) -> None:
    a_batch(ledger, items=4)
    bought(ledger, "a" * 32)
    (before,) = claims(ledger, 1)
    a_probe(ledger, wait_for)
    assert reused(ledger, before)
    assert claims(ledger) == []


# How long the search takes


@pytest.fixture
def service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str) -> Service:
    return Service.connect(api_settings(redis_url, s3_server, bucket), storage=storage)


def test_a_long_search_ends_and_the_rest_is_looked_up_when_it_is_leased(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = service.ledger
    text = "version: 1\nname: n\nreuse: true\nitems: [{prompt: p0}, {prompt: p1}, {prompt: p2}, {prompt: p3}]\n"
    service.submission.submit(parse_manifest(text), "b", trigger="cli", folder=None)
    config = ledger.batches.config("b")
    ctx = cast(Context, SimpleNamespace(service=service, batch_config=ledger.batches.config))
    bought(ledger, *(reuse_key(config, row, {}) for row in ledger.items.stream("b")))
    monkeypatch.setattr(reuse, "_CHUNK", 1)
    # A minute passes between two looks at the clock; the search may take two.
    minutes = count()
    monkeypatch.setattr(reuse, "time", SimpleNamespace(monotonic=lambda: next(minutes) * 60.0))
    reuse.reuse_pending(ctx, "b")
    assert ledger.batches.get("b").counts == {"collecting": 2, "pending": 2}
    ledger.batches.start("b", price_usd=Decimal("0.09"), max_failures=9)
    leases = claims(ledger)
    assert len(leases) == 2
    assert reuse.reuse_leased(ctx, leases) == [], "nothing is left to buy"
    sources = {lease.source.item for lease in dues(ledger) if lease.source}
    assert sources == {f"first/{n}" for n in range(4)}


# How many images an estimate looks at


def test_an_estimate_looks_at_a_limited_number_of_images_and_says_how_many_are_left(
    service: Service, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.batches.submission._MAX_REQUESTS", 2)
    looked_at: list[str] = []

    def confirmed_info(_self: Storage, uri: str) -> ObjectInfo:
        looked_at.append(uri)
        return ObjectInfo(uri, 9, "image/png", ETAG)

    monkeypatch.setattr(Storage, "confirmed_info", confirmed_info)
    images = [f"{bucket}faces/{n}.png" for n in range(4)]
    items = [{"image": image, "prompt": prompt} for image in images for prompt in ("p", "q")]
    text = json.dumps({"version": 1, "name": "n", "reuse": True, "items": items})
    manifest = parse_manifest(text)
    config = service.submission.batch_config(manifest, "")
    identities = {image: ("s3", image, ETAG) for image in images}
    bought(service.ledger, *(reuse_key(config, item, identities) for item in manifest.items))
    response = api_client(service.settings).post("/api/v1/estimate", data=text, content_type="application/json")
    estimate = body(response)
    assert sorted(looked_at) == images[:2]
    assert (estimate["items"], estimate["reused"]) == (8, 4)
    assert "2 images on S3 were not looked at, so their items count as bought" in estimate["reason"]
    whole = service.submission.with_reuse(BatchEstimate.of(manifest, service.models), manifest, None)
    assert "2 images on S3 were not looked at" in str(whole)
    assert service.ledger.queries.recent_batches() == [], "nothing was created"


def test_an_estimate_that_looked_at_all_images_has_no_such_reason(service: Service, bucket: str) -> None:
    text = json.dumps({"version": 1, "name": "n", "reuse": True, "items": [{"image": f"{bucket}1.png", "prompt": "p"}]})
    manifest = parse_manifest(text)
    estimate = service.submission.with_reuse(BatchEstimate.of(manifest, service.models), manifest, None)
    assert (estimate.unidentified, estimate.reused) == (0, frozenset())
    assert "looked at" not in str(estimate)
