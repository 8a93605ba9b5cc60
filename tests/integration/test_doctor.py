"""`doctor`: what is wrong is found, named, and how to mend it is told; no secret is shown."""

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
from pipeline.doctor import Verdict
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import SandboxHandle
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
    sandbox: SandboxHandle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All is configured, as it should be; no process runs."""
    environment = {
        **sandbox.environment(),
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
        "PIPELINE_OUTPUT": bucket,
        "PIPELINE_SECRET": "planted-secret",
        "PIPELINE_API_TOKEN": "planted-token",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def receiver() -> Iterator[str]:
    """The web process, as it would be with the settings of this test; answers its URL."""
    server = make_server("127.0.0.1", 0, create_app(load()), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def found(code: int) -> dict[str, str]:
    """{what is wrong: how it is said}, from a run that ends with `code`."""
    answer = CliRunner().invoke(main, ["doctor"])
    assert answer.exit_code == code, answer.output
    for secret in SECRETS:
        assert secret not in answer.output
    lines = [line.split(None, 1)[1] for line in answer.stdout.splitlines() if line.startswith(Verdict.WRONG)]
    return dict(line.split(": ", 1) for line in lines)


def test_a_service_that_is_all_right_has_nothing_to_mend(
    receiver: str, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", receiver)
    assert found(0) == {}
    assert list(storage.list(bucket)) == []


def test_redis_that_is_away_is_one_finding_and_the_rest_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:planted-secret@127.0.0.1:1/0")
    assert list(found(1)) == ["Redis"]


def test_a_server_that_throws_keys_away_is_found(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert "allkeys-lru" in found(1)["Redis' memory"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")


def test_without_an_append_only_file_it_is_said_what_is_promised(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.config_set("appendonly", "no")
        try:
            answer = CliRunner().invoke(main, ["doctor"])
        finally:
            client.config_set("appendonly", "yes")
    assert answer.exit_code == 0
    assert "Redis' disk: The append-only file is off." in answer.stdout


def test_batches_without_workers_are_found(ledger: Ledger) -> None:
    a_batch(ledger)
    missing = found(1)
    assert "1 batch open" in missing["workers"]
    assert "scheduler" in missing


def test_wrong_keys_for_s3_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-key")
    assert "SignatureDoesNotMatch" in found(1)["S3"]


def test_a_signature_that_the_vendor_refuses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRO_API_SECRET", "planted-key")
    assert "signature" in found(1)["Wiro"]


def test_no_key_for_the_vendor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRO_API_KEY", "")
    assert "WIRO_API_KEY" in found(1)["Wiro"]


def test_a_public_url_that_does_not_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", "http://127.0.0.1:1")
    assert "does not answer" in found(1)["callbacks"]


def test_a_public_url_of_something_else_is_found(sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", f"http://{sandbox.place}")
    assert "/healthz" in found(1)["callbacks"]


def test_a_public_url_without_a_secret_is_found(receiver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PUBLIC_URL", receiver)
    monkeypatch.setenv("PIPELINE_SECRET", "")
    assert "PIPELINE_SECRET" in found(1)["callbacks"]


def test_a_private_public_url_for_the_real_vendor_is_found(receiver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.doctor.web import public_url

    monkeypatch.setenv("PIPELINE_PUBLIC_URL", receiver)
    monkeypatch.setenv("WIRO_API_URL", "https://api.wiro.ai/v1")
    last = list(public_url(load()))[-1]
    assert last.verdict is Verdict.WRONG
    assert "Wiro cannot call it" in last.message


def test_a_host_for_outputs_that_is_not_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_FETCH_HOSTS", "*.wiro.ai,no-such-host.invalid:8080")
    assert "no-such-host.invalid" in found(1)["outputs"]


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIPELINE_LEASE_S", "soon")
    answer = CliRunner().invoke(main, ["doctor", "--state", str(tmp_path)])
    assert answer.exit_code == 1
    assert "PIPELINE_LEASE_S" in answer.stdout
