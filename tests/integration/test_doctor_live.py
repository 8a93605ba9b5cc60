"""`doctor --live`: one paid run, and a finding for each assumption, against the sandbox with each one turned around."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from pipeline.cli.main import main
from pipeline.doctor import live_run
from pipeline.doctor.findings import Finding, Severity
from pipeline.doctor.live_run import LiveRunRefused, observe_run, plan_run
from pipeline.ledger.ledger import Ledger
from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import Settings, load
from pipeline.web.app import create_app

SECRET, API_TOKEN = "planted-secret-of-callbacks", "planted-token-of-the-api"
BUDGET = Decimal("1.00")
OK, NOTE, WRONG = Severity


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    monkeypatch.setattr(live_run, "QUIET_S", 5)
    sandbox.change(output_bytes=1000, strict_nonce=False)


@pytest.fixture
def settings(redis_url: str, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A service without a public URL, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    environment = {"REDIS_URL": redis_url, "PIPELINE_SECRET": SECRET, "PIPELINE_API_TOKEN": API_TOKEN}
    for name, value in {**sandbox.environment, **environment}.items():
        monkeypatch.setenv(name, value)
    return load()


@pytest.fixture
def public(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The same service with a web process at its public URL."""
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", f"http://127.0.0.1:{server.port}")
    yield load()
    server.shutdown()
    thread.join()
    server.server_close()


def observed(settings: Settings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in observe_run(settings, plan_run(settings, BUDGET))}


def wait_out(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """Shorten the wait that is over only at its end, because what it waits for does not come."""
    waits = {"stuck": "MAX_TASK_S", "lose_callbacks": "CALLBACK_WAIT_S", "list_refused": "SEARCH_S"}
    for option in options.keys() & waits.keys():
        monkeypatch.setattr(live_run, waits[option], 2)


def assert_found(found: dict[str, Finding], subject: str, severity: Severity, text: str) -> None:
    assert subject in found, found
    assert (found[subject].severity, text in f"{found[subject].message} {found[subject].fix}") == (severity, True), (
        found
    )


def test_if_the_vendor_is_as_assumed_nothing_is_to_change(public: Settings, sandbox: Sandbox) -> None:
    found = observed(public)
    assert [finding for finding in found.values() if finding.severity is not OK] == []
    for subject, text in (
        ("response of Run", "names the task"),
        ("run", "succeeded"),
        ("Detail: pexit", "present"),
        ("Detail: totalcost", "present"),
        ("price", "stated $0.09, charged $0.09"),
        ("output: host", public.fetch_hosts[0]),
        ("output: response", "HTTP 200, video/mp4, 1,000 bytes"),
        ("output: expiry", "the URL works for another"),
        ("Task/List", "allowed"),
        ("Task/List: callbackurl", "present"),
        ("Task/List: parameters", "as sent"),
        ("Cancel of an ended task", "Task is not in a cancellable state."),
        ("Kill of an ended task", "Task could not be killed"),
        ("reused nonce", "accepted"),
        ("callback", "after the end"),
        ("callback: attempts", "3 attempts, 2"),
        ("callback: headers", "Content-Type"),
        ("callback: body", "status: text"),
    ):
        assert_found(found, subject, OK, text)
    assert sandbox.stats()["runs"] == 1


@pytest.mark.parametrize(
    ("options", "subject", "severity", "text"),
    [
        ({"without_pexit": 1}, "Detail: pexit", NOTE, "missing"),
        ({"without_pexit": 1}, "Detail: totalcost", NOTE, "invoice"),
        ({"without_pexit": 1}, "price", NOTE, "not known"),
        ({"without_pexit": 1}, "run", OK, "succeeded"),
        ({"charge_factor": 2}, "price", NOTE, "charged $0.18"),
        ({"charge_factor": 4}, "price", WRONG, "limits.budget_usd"),
        ({"fail": 1}, "run", WRONG, "failed"),
        ({"fail": 1}, "output", NOTE, "not tested"),
        ({"stuck": 1}, "run", WRONG, "It was stopped."),
        ({"list_refused": True}, "Task/List", NOTE, "PIPELINE_ON_UNKNOWN"),
        ({"strict_nonce": True}, "reused nonce", NOTE, "refused"),
        ({"lose_answers": 1}, "response of Run", NOTE, "found by its prompt"),
        ({"lose_answers": 1, "list_refused": True}, "response of Run", WRONG, "may be charged"),
        ({"account_refusal": "suspended"}, "response of Run", WRONG, "Nothing was charged."),
        ({"cdn_error": 1}, "output: response", WRONG, "HTTP "),
        ({"overlong": 1}, "output: response", WRONG, "no copy is made"),
        ({}, "callback", NOTE, "PIPELINE_PUBLIC_URL"),
        ({}, "Task/List: callbackurl", NOTE, "not tested"),
    ],
)
def test_an_assumption_that_does_not_hold_is_reported(
    settings: Settings,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    subject: str,
    severity: Severity,
    text: str,
) -> None:
    wait_out(monkeypatch, options)
    sandbox.change(**options)
    assert_found(observed(settings), subject, severity, text)
    assert sandbox.stats()["runs"] <= 1


@pytest.mark.parametrize(
    ("options", "subject", "severity", "text"),
    [
        ({"lose_callbacks": 1}, "callback", WRONG, "PIPELINE_POLL_AFTER_S"),
        ({"double_callbacks": 1}, "callback: attempts", NOTE, "again after a response with 200"),
        ({"list_without_callbackurl": True}, "Task/List: callbackurl", NOTE, "missing"),
        ({"lose_answers": 1}, "response of Run", NOTE, "found by its callback URL"),
    ],
)
def test_an_assumption_about_callbacks_that_does_not_hold_is_reported(
    public: Settings,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    subject: str,
    severity: Severity,
    text: str,
) -> None:
    wait_out(monkeypatch, options)
    sandbox.change(**options)
    assert_found(observed(public), subject, severity, text)


def test_a_host_that_outputs_may_not_be_fetched_from_is_a_problem(
    settings: Settings, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_FETCH_HOSTS", "*.wiro.ai")
    found = observed(load())
    assert_found(found, "output: host", WRONG, f"Add {sandbox.address} to PIPELINE_FETCH_HOSTS.")
    # Its address is private, so it is not requested.
    assert_found(found, "output: response", WRONG, "no response")


@pytest.mark.parametrize(("price", "budget"), [("0.09", "0.08"), ("2", "1.99")])
def test_above_the_budget_nothing_is_run(settings: Settings, sandbox: Sandbox, price: str, budget: str) -> None:
    sandbox.change(price=price)
    with pytest.raises(LiveRunRefused, match="Nothing was run: the price is"):
        plan_run(settings, Decimal(budget))
    assert sandbox.stats()["runs"] == 0


def test_without_a_known_price_nothing_is_run(
    settings: Settings, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_run, "DEFAULT_MODEL", "missing/missing")
    with pytest.raises(LiveRunRefused, match="Nothing was run: the price"):
        plan_run(settings, BUDGET)
    # An estimate that is not exact must fit three times.
    monkeypatch.setattr(live_run, "DEFAULT_MODEL", "acme/undescribed")
    with pytest.raises(LiveRunRefused, match="must cover it 3 times"):
        plan_run(settings, Decimal("0.01"))


def test_the_charge_counts_in_the_spend_of_the_day(settings: Settings, ledger: Ledger) -> None:
    observed(settings)
    assert ledger.account.spend(1)[0][1] == Decimal("0.09")


def test_the_command_needs_a_confirmation_and_writes_a_report_without_secrets(
    public: Settings, sandbox: Sandbox
) -> None:
    refused = CliRunner().invoke(main, ["doctor", "--live", "--budget", "1.00"], input="n\n")
    assert refused.exit_code == 1
    assert "Post one run of minimax/image-to-video-hailuo-01-subject" in refused.output
    assert sandbox.stats()["runs"] == 0
    assert list(Path().glob("dailies-live-report-*")) == []

    result = CliRunner().invoke(main, ["doctor", "--live", "--budget", "1.00", "--yes"])
    (report,) = Path().glob("dailies-live-report-????????T????Z.md")
    assert f"Report: {report}" in result.output
    text = report.read_text()
    assert "| as assumed | price | stated $0.09, charged $0.09 |" in text
    assert "| as assumed | callback: attempts |" in text
    (task,) = sandbox.tasks()
    callback_token = task["callback_url"].rpartition("/")[2]
    public_host = str(public.public_url).removeprefix("http://")
    hidden = [SECRET, API_TOKEN, sandbox.key, sandbox.secret, task["token"], callback_token, public_host, "http://"]
    with Ledger.connect(public.redis_url).redis as redis:
        stored = "".join(item for key in redis.scan_iter("dailies:live_check:*") for item in redis.lrange(key, 0, -1))
    assert "status: text" in stored
    for page in (text, stored, result.output.partition("response of Run")[2]):
        assert [secret for secret in hidden if secret in page] == []
        assert re.findall(rf"\b{task['id']}\b", page) == []


@pytest.mark.parametrize("arguments", [["--live"], ["--budget", "1"], ["--yes"], ["--live", "--budget", "0"]])
def test_a_run_needs_a_budget(settings: Settings, sandbox: Sandbox, arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["doctor", *arguments]).exit_code == 2
    assert sandbox.stats()["runs"] == 0
