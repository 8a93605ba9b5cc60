"""The address of the page of a batch, and the command that copies its videos; `open`."""

from __future__ import annotations

import threading
import webbrowser
from decimal import Decimal

import pytest
from click.testing import CliRunner, Result
from support.finished_batch import end, videos, with_outputs
from support.ledger_fixtures import a_batch, dues, running, succeed
from support.waiting import WaitFor

from pipeline.cli.main import main
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage

URL = "http://127.0.0.1:8123"


@pytest.fixture(autouse=True)
def _service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("PIPELINE_OUTPUT", bucket)
    monkeypatch.setenv("PIPELINE_DASHBOARD_URL", f"{URL}/")
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", "https://tunnel.example")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the browser was given."""
    addresses: list[str] = []

    def record(url: str) -> bool:
        addresses.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", record)
    return addresses


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def last_lines(text: str, count: int = 2) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()[-count:]]


def test_status_ends_with_the_page_of_the_batch_and_the_command_that_copies_it(
    ledger: Ledger, storage: Storage, bucket: str
) -> None:
    with_outputs(ledger, storage, bucket, videos("man"))
    end(ledger, storage)
    assert last_lines(dailies("status", "b").stdout) == [f"page {URL}/batches/b", "pull dailies pull b"]
    assert last_lines(dailies("status", "b", "--state", "some where").stdout, 1) == [
        "pull dailies pull b --state 'some where'"
    ]


def test_without_a_known_address_status_ends_with_the_command(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    a_batch(ledger)
    monkeypatch.delenv("PIPELINE_DASHBOARD_URL")
    assert "page https://tunnel.example/batches/b" in last_lines(dailies("status", "b").stdout)
    monkeypatch.delenv("PIPELINE_PUBLIC_URL")
    result = dailies("status", "b").stdout
    assert last_lines(result, 1) == ["pull dailies pull b"]
    assert "/batches/b" not in result


def test_a_submission_that_waits_ends_with_both(
    ledger: Ledger, storage: Storage, bucket: str, wait_for: WaitFor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    manifest = tmp_path_factory.mktemp("manifest") / "batch.yaml"
    manifest.write_text("{version: 1, name: la, items: [{id: one, image: 'https://example.com/1.jpg', prompt: p}]}")
    results: list[Result] = []
    waiting = threading.Thread(
        target=lambda: results.append(dailies("submit", str(manifest), "--batch-id", "b", "--wait"))
    )
    waiting.start()
    wait_for(lambda: ledger.redis.exists("dailies:batch:b"), "the batch")
    wait_for(lambda: ledger.batches.is_accepted("b"), "the items")
    ledger.batches.start("b", price_usd=Decimal(0), max_failures=10)
    running(ledger)
    succeed(ledger, dues(ledger)[0])
    end(ledger, storage)
    waiting.join(timeout=300)
    (result,) = results
    assert (result.exit_code, result.stdout) == (0, "b\n")
    assert last_lines(result.stderr, 3) == [
        f"results {bucket}b/results.json",
        f"page {URL}/batches/b",
        "pull dailies pull b",
    ]


def test_open_prints_the_address_and_opens_it(ledger: Ledger, opened: list[str]) -> None:
    a_batch(ledger)
    assert dailies("open").stdout == f"{URL}/\n"
    assert dailies("open", "b").stdout == f"{URL}/batches/b\n"
    assert opened == [f"{URL}/", f"{URL}/batches/b"]


def test_open_of_a_missing_batch_is_exit_code_4(ledger: Ledger, opened: list[str]) -> None:
    result = dailies("open", "nope")
    assert (result.exit_code, result.stdout, opened) == (4, "", [])


def test_open_reports_if_no_browser_starts_or_no_address_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    result = dailies("open")
    assert (result.exit_code, result.stdout) == (0, f"{URL}/\n")
    assert "open the address yourself" in result.stderr
    monkeypatch.delenv("PIPELINE_DASHBOARD_URL")
    monkeypatch.delenv("PIPELINE_PUBLIC_URL")
    result = dailies("open")
    assert result.exit_code == 2
    assert "PIPELINE_DASHBOARD_URL" in result.stderr
