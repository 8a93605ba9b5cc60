"""`doctor` finds each problem and shows no secret."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis
from support.ledger_fixtures import a_batch
from werkzeug.serving import make_server

from pipeline.cli.main import main
from pipeline.doctor.findings import Severity
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import load
from pipeline.storage.s3 import Storage
from pipeline.web.app import create_app

SECRETS = ("planted-secret", "planted-token", "planted-key")


@pytest.fixture(autouse=True)
def _service(
    redis_url: str,
    storage: Storage,
    s3_server: S3Env,
    bucket: str,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A complete and correct configuration; no process runs."""
    environment = {
        **sandbox.environment,
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
        "PIPELINE_OUTPUT": bucket,
        "PIPELINE_SECRET": "planted-secret",
        "PIPELINE_API_TOKEN": "planted-token-of-the-api",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def receiver() -> Iterator[str]:
    """Run the web process with the settings of this test; yield its URL."""
    server = make_server("127.0.0.1", 0, create_app(load()), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def problems(exit_code: int) -> dict[str, str]:
    """Run `doctor`, expect `exit_code`, and return {subject: message} of all problems."""
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == exit_code, result.output
    for secret in SECRETS:
        assert secret not in result.output
    lines = [line.split(None, 1)[1] for line in result.stdout.splitlines() if line.startswith(Severity.WRONG)]
    return dict(line.split(": ", 1) for line in lines)


def test_a_correct_configuration_has_no_problems(
    receiver: str, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", receiver)
    assert problems(0) == {}
    assert list(storage.list(bucket)) == []


def test_without_a_token_it_reports_that_only_callbacks_and_health_checks_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PIPELINE_API_TOKEN")
    output = CliRunner().invoke(main, ["doctor"]).output
    assert "PIPELINE_API_TOKEN is not set: the web process serves callbacks and health checks only." in output


def test_if_redis_is_unavailable_the_other_checks_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:planted-secret@127.0.0.1:1/0")
    assert list(problems(1)) == ["Redis"]


def test_a_server_that_evicts_keys_is_a_problem(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert "allkeys-lru" in problems(1)["Redis memory"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")


def test_a_missing_append_only_file_is_a_note(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.config_set("appendonly", "no")
        try:
            result = CliRunner().invoke(main, ["doctor"])
        finally:
            client.config_set("appendonly", "yes")
    assert result.exit_code == 0
    assert "Redis disk: The append-only file is off." in result.stdout


def test_open_batches_without_workers_are_a_problem(ledger: Ledger) -> None:
    a_batch(ledger)
    missing = problems(1)
    assert "1 batch open" in missing["workers"]
    assert "scheduler" in missing


def test_wrong_s3_keys_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-key")
    assert "SignatureDoesNotMatch" in problems(1)["S3"]


def test_a_signature_that_the_vendor_rejects_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRO_API_SECRET", "planted-key")
    assert "signature" in problems(1)["Wiro"]


def test_a_missing_vendor_key_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRO_API_KEY", "")
    assert "WIRO_API_KEY" in problems(1)["Wiro"]


def test_a_public_url_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", "http://127.0.0.1:1")
    assert "does not answer" in problems(1)["callbacks"]


def test_a_public_url_of_another_service_is_a_problem(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", f"http://{sandbox.address}")
    assert "no such path (HTTP 404)" in problems(1)["callbacks"]


def test_a_public_url_without_a_secret_is_a_problem(receiver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", receiver)
    monkeypatch.setenv("PIPELINE_SECRET", "")
    assert "PIPELINE_SECRET" in problems(1)["callbacks"]


def test_a_private_public_url_for_the_real_vendor_is_a_problem(receiver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.doctor.public_url import check_public_url

    monkeypatch.setenv("PIPELINE_PUBLIC_URL", receiver)
    monkeypatch.setenv("WIRO_API_URL", "https://api.wiro.ai/v1")
    last = list(check_public_url(load()))[-1]
    assert last.severity is Severity.WRONG
    assert "Wiro cannot call it" in last.message


def test_an_unknown_host_for_outputs_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_FETCH_HOSTS", "*.wiro.ai,no-such-host.invalid:8080")
    assert "no-such-host.invalid" in problems(1)["outputs"]


def test_an_invalid_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIPELINE_LEASE_S", "soon")
    result = CliRunner().invoke(main, ["doctor", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "PIPELINE_LEASE_S" in result.stdout
