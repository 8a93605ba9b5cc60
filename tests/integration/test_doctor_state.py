"""`doctor` names what keeps a service from working although all its servers answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

import pytest
from redis import Redis
from rq.suspension import suspend

from pipeline.batches.service import Service
from pipeline.doctor.account import check_submissions
from pipeline.doctor.findings import Finding, Severity
from pipeline.doctor.run import run_checks
from pipeline.doctor.triggers import check_triggers
from pipeline.doctor.vendor import check_account, check_fetch_hosts
from pipeline.doctor.workers import check_workers
from pipeline.ledger import keys
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import Settings, load
from pipeline.storage.s3 import Storage
from pipeline.triggers.listener import Listener
from pipeline.triggers.store import TriggerStore

Check = Callable[[Settings], Iterable[Finding]]


def found(check: Check, settings: Settings, severity: Severity = Severity.WRONG) -> dict[str, str]:
    """Return {subject: message and fix} of the findings of this severity."""
    return {one.subject: f"{one.message} {one.fix}" for one in check(settings) if one.severity is severity}


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(redis_url=redis_url, wiro_api_url="http://127.0.0.1:1")


@pytest.mark.parametrize("version", ["99", "a version of another program"])
def test_data_of_another_version_is_named_once(settings: Settings, ledger: Ledger, version: str) -> None:
    ledger.redis.set(keys.SCHEMA, version)
    problems = found(run_checks, settings)
    assert f"has data of schema version {version}" in problems["Redis data"]
    assert "set REDIS_URL to another server" in problems["Redis data"]
    assert not {"workers", "account"} & {*problems}
    notes = found(run_checks, settings, Severity.NOTE)
    assert "because of the problem of Redis data" in notes["workers"]
    assert ledger.redis.get(keys.SCHEMA) == version


def test_a_paused_account_is_named_with_the_reason_and_how_to_resume(settings: Settings, ledger: Ledger) -> None:
    ledger.account.pause("The balance is too low.", probe_after_s=60)
    message = found(check_submissions, settings)["account"]
    assert "The account is paused, nothing is submitted: The balance is too low." in message
    assert "`dailies resume`" in message
    assert "A single run tries it at" in message
    ledger.account.resume()
    assert found(check_submissions, settings) == {}


def test_a_backoff_is_a_note_with_its_reason(settings: Settings, ledger: Ledger) -> None:
    ledger.account.back_off(first_s=60, longest_s=60, reason="The vendor answers HTTP 503.")
    assert "The vendor answers HTTP 503." in found(check_submissions, settings, Severity.NOTE)["account"]
    assert found(check_submissions, settings) == {}


def test_suspended_queues_are_named(settings: Settings) -> None:
    with Redis.from_url(settings.redis_url) as client:
        suspend(client)
    message = found(check_workers, settings)["queues"]
    assert "`rq suspend`" in message
    assert "Run `rq resume" in message


@pytest.fixture
def rules(tmp_path: Path, bucket: str) -> Callable[[str], Path]:
    """`rules(watch)`: a file with a rule that lists this prefix below the bucket of the test."""

    def write(watch: str) -> Path:
        file = tmp_path / "triggers.yaml"
        file.write_text(f"triggers:\n- {{name: inbox, source: listing, watch: '{bucket}{watch}', start: manifest}}\n")
        return file

    return write


@pytest.fixture
def with_rules(
    settings: Settings, storage: Storage, s3_server: S3Env, bucket: str, rules: Callable[[str], Path]
) -> Callable[[str], Settings]:
    """`with_rules(watch)`: the settings with such a file."""
    servers = {"s3_endpoint": s3_server.endpoint, "output": f"{bucket}out/"}
    return lambda watch: settings.model_copy(update={**servers, "triggers": rules(watch)})


def test_rules_that_no_listener_follows_are_a_problem_if_the_service_runs(
    with_rules: Callable[[str], Settings], ledger: Ledger
) -> None:
    settings = with_rules("inbox/")
    message = "No listener runs"
    assert message in found(check_triggers, settings, Severity.NOTE)["listener"]
    ledger.redis.zadd("rq:cron_schedulers", {"scheduler": 4_000_000_000})
    ledger.redis.hset("rq:cron_scheduler:scheduler", mapping={"name": "scheduler"})
    assert message in found(check_triggers, settings)["listener"]
    TriggerStore.connect(settings.redis_url).record_listener()
    assert found(check_triggers, settings) == {}


def test_a_listener_records_that_it_runs(settings: Settings) -> None:
    stopping = Event()
    stopping.set()
    Listener.of(Service.connect(settings)).run(stopping)
    assert TriggerStore.connect(settings.redis_url).has_listener()


def test_a_rule_that_watches_the_output_is_a_problem(with_rules: Callable[[str], Settings]) -> None:
    message = found(check_triggers, with_rules("out/"))["trigger inbox"]
    assert "It watches PIPELINE_OUTPUT" in message
    assert "Watch another prefix" in message


def test_a_rule_that_watches_the_output_among_others_is_a_note(with_rules: Callable[[str], Settings]) -> None:
    settings = with_rules("")
    assert found(check_triggers, settings) == {}
    assert "objects there start no batch" in found(check_triggers, settings, Severity.NOTE)["trigger inbox"]


def test_a_prefix_below_the_output_may_be_watched(with_rules: Callable[[str], Settings]) -> None:
    settings = with_rules("out/inbox/")
    assert found(check_triggers, settings) == {}
    assert "trigger inbox" not in found(check_triggers, settings, Severity.NOTE)


@pytest.mark.parametrize(
    ("public_url", "severity", "cost"),
    [
        ("https://dailies.example.com", Severity.NOTE, "is found by its callback only"),
        ("", Severity.WRONG, "its item stays `unknown` until a person decides"),
    ],
)
def test_a_vendor_that_lists_no_tasks_is_named_with_what_that_costs(
    sandbox: Sandbox, public_url: str, severity: Severity, cost: str
) -> None:
    settings = load({**os.environ, **sandbox.environment, "PIPELINE_PUBLIC_URL": public_url})
    assert found(check_account, settings, severity) == {}
    sandbox.change(list_refused=True)
    message = found(check_account, settings, severity)["Wiro tasks"]
    assert "Task/List" in message
    assert cost in message


@pytest.mark.parametrize(
    ("api_url", "hosts", "severity"),
    [
        ("https://api.wiro.ai/v1", "127.0.0.1:9000", Severity.WRONG),
        ("https://API.wiro.ai/v2/", "*.wiro.ai:8443", Severity.WRONG),
        ("https://api.wiro.ai/v1", "*.wiro.ai,127.0.0.1:9000", None),
        ("https://gateway.example.com/v1", "127.0.0.1:9000", None),
    ],
)
def test_outputs_of_the_real_vendor_must_be_allowed(api_url: str, hosts: str, severity: Severity | None) -> None:
    settings = load({"WIRO_API_URL": api_url, "PIPELINE_FETCH_HOSTS": hosts})
    for one in (Severity.WRONG, Severity.NOTE):
        messages = found(check_fetch_hosts, settings, one)
        assert ("Add *.wiro.ai to PIPELINE_FETCH_HOSTS" in str(messages)) is (one is severity)
