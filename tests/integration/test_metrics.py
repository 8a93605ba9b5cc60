"""Metrics for Prometheus, against a real server."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from support.access import BEARER, TOKEN
from support.ledger_fixtures import PENDING, RUNNING, SUBMITTING, SUCCEEDED, a_batch, claims, dues, running, succeed
from support.processes import ROOT
from support.waiting import WaitFor

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.states import ItemState
from pipeline.ledger.counters import BOUNDS_S
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Counted
from pipeline.settings import Settings
from pipeline.web import create_app

Sample = dict[tuple[str, str], float]


@pytest.fixture
def client(redis_url: str) -> FlaskClient:
    client = create_app(Settings(redis_url=redis_url, api_token=SecretStr(TOKEN))).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def samples(client: FlaskClient) -> Sample:
    """Return {(name, values of the labels): value}."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_an_empty_service_has_metrics(client: FlaskClient) -> None:
    values = samples(client)
    assert values["dailies_open_batches", ""] == 0
    assert values["dailies_items", "pending"] == 0
    assert values["dailies_spend_usd_total", ""] == 0
    assert ("dailies_concurrency_limit", "") not in values


def test_runs_that_wait_for_the_next_day_are_shown_in_metrics_and_on_pages(client: FlaskClient, ledger: Ledger) -> None:
    assert samples(client)["dailies_day_limit_reached", ""] == 0
    a_batch(ledger, items=3, price_usd=Decimal("0.09"))
    assert len(ledger.runs.claim_pending(9, lease_s=60, max_active=0, max_day_usd=Decimal("0.10")).runs) == 1
    values = samples(client)
    assert (values["dailies_day_limit_usd", ""], values["dailies_day_limit_reached", ""]) == (0.1, 1)
    for page in ("/", "/batches/b"):
        assert "PIPELINE_MAX_DAY_USD is $0.10, and $0 is spent today" in client.get(page).text
    assert client.get("/api/v1/batches/b").get_json()["waits_until"].endswith("T00:00:00Z")


def test_metrics_need_the_token(redis_url: str) -> None:
    app = create_app(Settings(redis_url=redis_url, api_token=SecretStr(TOKEN)))
    assert app.test_client().get("/metrics").status_code == 401


@pytest.mark.parametrize("file", ["docs/grafana.json", "docs/observability.md"])
def test_docs_name_only_metrics_that_exist(client: FlaskClient, ledger: Ledger, file: str) -> None:
    ledger.account.limit_concurrency(3)
    ledger.account.pause("no money")
    ledger.runs.claim_pending(1, lease_s=60, max_active=0, max_day_usd=Decimal(1))
    values = {name for name, _ in samples(client)}
    named = set(re.findall(r"dailies_[a-z_]+", (ROOT / file).read_text(encoding="utf-8")))
    assert len(named) > 10
    assert {name for name in named if not {name, f"{name}_count"} & values} == set()


def test_items_money_and_runs_are_counted(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=4)
    running(ledger, 2)
    first, _ = dues(ledger)
    succeed(ledger, first, "0.09")
    ledger.account.limit_concurrency(3)
    ledger.account.pause("no money")
    values = samples(client)
    assert [values["dailies_items", state] for state in (PENDING, RUNNING, SUCCEEDED)] == [2, 1, 1]
    assert values["dailies_items_ended_total", SUCCEEDED] == 1
    assert values["dailies_spend_usd_total", ""] == pytest.approx(0.09)
    assert values["dailies_active_runs", ""] == 1
    assert values["dailies_concurrency_limit", ""] == 3
    assert values["dailies_account_paused", ""] == 1
    assert values["dailies_account_pause_reason", "no money"] == 1


def test_failed_attempts_are_counted(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    first, second = claims(ledger)
    ledger.runs.requeue(first.run, first.lease, SUBMITTING, delay_s=0, counted=Counted.ATTEMPT)
    ledger.runs.requeue(second.run, second.lease, SUBMITTING, delay_s=0, counted=Counted.REFUSAL)
    values = samples(client)
    assert (values["dailies_retries_total", ""], values["dailies_refusals_total", ""]) == (1, 1)


def test_a_run_that_is_held_as_unknown_is_counted_as_ended(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    [claim] = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    assert samples(client)["dailies_items_ended_total", ItemState.UNKNOWN] == 0
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    assert samples(client)["dailies_items_ended_total", ItemState.UNKNOWN] == 1


def test_callbacks_are_counted_by_outcome(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    [claim] = running(ledger, 1, poll_after_s=60)
    assert ledger.runs.record_callback(claim.run, "", "")
    [due] = dues(ledger)
    ledger.runs.record_callback(due.run, "", "")
    ledger.runs.record_callback(RunId("b", "i0", 99), "", "")
    client.post("/callbacks/wiro/forged")
    values = samples(client)
    assert [
        values["dailies_callbacks_total", outcome] for outcome in ("accepted", "deferred", "stale", "rejected")
    ] == [1] * 4


def test_steps_are_timed(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger, 2)
    for due in dues(ledger):
        succeed(ledger, due)
    values = samples(client)
    for step in ("vendor", "copy", "whole"):
        assert values["dailies_step_seconds_count", step] == 2
        assert values["dailies_step_seconds_bucket", f"+Inf,{step}"] == 2
        assert values["dailies_step_seconds_bucket", f"{float(BOUNDS_S[-1])},{step}"] == 2


def test_a_repeated_copy_is_not_timed_again(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger, 1)
    [due] = dues(ledger)
    assert ledger.runs.record_success(due, Decimal("0.09"))
    ledger.runs.end(due.run, due.lease, ItemState.COLLECTING, ItemState.FAILED, {"error": "no copy"})
    ledger.items.retry("b", ["failed"])
    [due] = dues(ledger)
    assert ledger.runs.end(due.run, due.lease, ItemState.COLLECTING, SUCCEEDED, {}).ours
    figures = ledger.counters.read()
    assert sum(figures.latencies["copy"].counts) == 0
    assert sum(figures.latencies["vendor"].counts) == 1
    assert figures.ended == {"failed": 1, "succeeded": 1}


def test_waiting_jobs_are_counted_with_their_age(client: FlaskClient, redis_url: str, wait_for: WaitFor) -> None:
    job_queue = JobQueue(redis_url)
    job_queue.enqueue_once(Job.COLLECT)
    job_queue.enqueue_in(Job.SUBMIT, 60)
    values = samples(client)
    assert (values["dailies_queue_jobs", ""], values["dailies_delayed_jobs", ""]) == (1, 1)
    assert values["dailies_workers", ""] == 0
    wait_for(lambda: samples(client)["dailies_queue_age_seconds", ""] > 0, "a job that waits")
    assert QueueMonitor(redis_url).workers() == []
    assert QueueMonitor(redis_url).failed_jobs() == []
