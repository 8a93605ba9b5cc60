"""The figures that Prometheus sees, against a real server."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from support.ledger_fixtures import PENDING, RUNNING, SUBMITTING, SUCCEEDED, a_batch, claims, dues, running, succeed
from support.processes import ROOT
from support.waiting import WaitFor

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.states import ItemState
from pipeline.ledger.counters import BOUNDS_S
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings
from pipeline.web import create_app

TOKEN = "a-token-of-the-tests"
Sample = dict[tuple[str, str], float]


@pytest.fixture
def client(redis_url: str) -> FlaskClient:
    client = create_app(Settings(redis_url=redis_url, api_token=SecretStr(TOKEN))).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return client


def seen(client: FlaskClient) -> Sample:
    """{(name, its labels' values): value}"""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_an_empty_service_has_figures_too(client: FlaskClient) -> None:
    found = seen(client)
    assert found["dailies_open_batches", ""] == 0
    assert found["dailies_items", "pending"] == 0
    assert found["dailies_spend_usd_total", ""] == 0
    assert ("dailies_window_runs", "") not in found


def test_metrics_need_the_token(redis_url: str) -> None:
    app = create_app(Settings(redis_url=redis_url, api_token=SecretStr(TOKEN)))
    assert app.test_client().get("/metrics").status_code == 401


@pytest.mark.parametrize("file", ["docs/grafana.json", "docs/observability.md"])
def test_what_is_written_about_metrics_names_only_those_that_are(
    client: FlaskClient, ledger: Ledger, file: str
) -> None:
    ledger.account.limit_concurrency(3)
    found = {name for name, _ in seen(client)}
    named = set(re.findall(r"dailies_[a-z_]+", (ROOT / file).read_text(encoding="utf-8")))
    assert len(named) > 10
    assert {name for name in named if not {name, f"{name}_count"} & found} == set()


def test_items_money_and_runs_are_counted(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=4)
    running(ledger, 2)
    first, _ = dues(ledger)
    succeed(ledger, first, "0.09")
    ledger.account.limit_concurrency(3)
    ledger.account.pause("no money")
    found = seen(client)
    assert [found["dailies_items", state] for state in (PENDING, RUNNING, SUCCEEDED)] == [2, 1, 1]
    assert found["dailies_items_ended_total", SUCCEEDED] == 1
    assert found["dailies_spend_usd_total", ""] == pytest.approx(0.09)
    assert found["dailies_active_runs", ""] == 1
    assert found["dailies_window_runs", ""] == 3
    assert found["dailies_account_paused", ""] == 1


def test_attempts_that_come_to_nothing_are_counted(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    first, second = claims(ledger)
    ledger.runs.requeue(first.run, first.lease, SUBMITTING, delay_s=0, spent=True)
    ledger.runs.requeue(second.run, second.lease, SUBMITTING, delay_s=0, spent=False)
    found = seen(client)
    assert (found["dailies_retries_total", ""], found["dailies_refusals_total", ""]) == (1, 1)


def test_a_run_that_is_held_as_unknown_has_ended_so(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    [claim] = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    assert seen(client)["dailies_items_ended_total", ItemState.UNKNOWN] == 0
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    assert seen(client)["dailies_items_ended_total", ItemState.UNKNOWN] == 1


def test_callbacks_are_counted_by_what_came_of_them(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    [claim] = running(ledger, 1, poll_after_s=60)
    assert ledger.runs.record_callback(claim.run, "", "")
    [due] = dues(ledger)
    ledger.runs.record_callback(due.run, "", "")
    ledger.runs.record_callback(RunId("b", "i0", 99), "", "")
    client.post("/callbacks/wiro/forged")
    found = seen(client)
    assert [found["dailies_callbacks_total", outcome] for outcome in ("accepted", "deferred", "stale", "rejected")] == [
        1
    ] * 4


def test_steps_are_timed(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger, 2)
    for due in dues(ledger):
        succeed(ledger, due)
    found = seen(client)
    for step in ("vendor", "copy", "whole"):
        assert found["dailies_step_seconds_count", step] == 2
        assert found["dailies_step_seconds_bucket", f"+Inf,{step}"] == 2
        assert found["dailies_step_seconds_bucket", f"{float(BOUNDS_S[-1])},{step}"] == 2


def test_a_copy_that_is_done_again_is_not_timed_again(ledger: Ledger) -> None:
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


def test_jobs_that_wait_are_counted_with_their_age(client: FlaskClient, redis_url: str, wait_for: WaitFor) -> None:
    job_queue = JobQueue(redis_url)
    job_queue.enqueue_once(Job.COLLECT)
    job_queue.enqueue_in(Job.SUBMIT, 60)
    found = seen(client)
    assert (found["dailies_queue_jobs", ""], found["dailies_delayed_jobs", ""]) == (1, 1)
    assert found["dailies_workers", ""] == 0
    wait_for(lambda: seen(client)["dailies_queue_age_seconds", ""] > 0, "a job that waits")
    assert QueueMonitor(redis_url).workers() == []
    assert QueueMonitor(redis_url).dead_letters() == []
