"""The same batch id with other content, from the command line and the API. Real Valkey and S3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.api_client import a_manifest, api_client, api_settings, body, send
from support.ended_batch import a_manifest as manifest
from support.ended_batch import write_results
from support.images import JPEG, PNG
from support.ledger_fixtures import SUCCEEDED

from pipeline.batches.retention import Retention
from pipeline.batches.service import Service
from pipeline.cli.main import main
from pipeline.domain.states import BatchState
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage


@pytest.fixture
def service(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Service:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("PIPELINE_OUTPUT", bucket)
    monkeypatch.setenv("WIRO_API_URL", "http://127.0.0.1:1")
    return Service.connect(api_settings(redis_url, s3_server, bucket), storage=storage)


def submit(folder: Path, prompt: str = "smile", *, image: bytes = JPEG, code: int = 0) -> Result:
    (folder / "face.jpg").write_bytes(image)
    file = folder / "manifest.yaml"
    items = [{"id": "woman-3", "image": "face.jpg", "prompt": prompt}, {"image": "https://example.com/1.jpg"}]
    file.write_text(json.dumps({"version": 1, "name": "la", "items": items}))
    result = CliRunner().invoke(main, ["submit", str(file), "--batch-id", "mine"])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.usefixtures("service")
def test_submit_refuses_other_content_and_names_what_differs(tmp_path: Path, ledger: Ledger) -> None:
    submit(tmp_path)
    assert "exists already" in submit(tmp_path).stderr
    refused = submit(tmp_path, "frown", code=2)
    digest = ledger.batches.manifest_digest("mine") or ""
    assert f"manifest {digest[:12]} before" in refused.stderr
    assert "item woman-3: prompt differs" in refused.stderr
    assert refused.stdout == ""
    assert ledger.items.get("mine", "woman-3").prompt == "smile"


@pytest.mark.usefixtures("service")
def test_a_recovered_batch_is_compared_by_its_content(tmp_path: Path, ledger: Ledger, bucket: str) -> None:
    submit(tmp_path)
    ledger.redis.flushall()
    assert CliRunner().invoke(main, ["recover", f"{bucket}mine/"]).exit_code == 0
    submit(tmp_path)
    assert "item woman-3: image differs" in submit(tmp_path, image=PNG, code=2).stderr
    assert "item woman-3: prompt differs" in submit(tmp_path, "frown", code=2).stderr


def test_the_api_returns_409(service: Service, ledger: Ledger) -> None:
    client = api_client(service.settings)
    assert send(client, a_manifest(2)).status_code == 201
    assert send(client, a_manifest(2)).status_code == 200
    refused = send(client, a_manifest(3))
    assert refused.status_code == 409
    assert "items: 2 before, 3 now; item i2: not there before" in body(refused)["detail"]


def test_an_archived_batch_is_compared_too(service: Service, ledger: Ledger, storage: Storage) -> None:
    client = api_client(service.settings)
    send(client, a_manifest(1))
    ledger.batches.start("b", price_usd=0, max_failures=1)  # type: ignore[arg-type]
    service.control.cancel("b")
    write_results(service)
    Retention(ledger, storage, keep_days=1e-9).archive("b")
    row = ledger.batches.get("b")
    assert (row.archived is not None, row.status, SUCCEEDED in row.counts) == (True, BatchState.CANCELLED, False)
    assert send(client, a_manifest(1)).status_code == 200
    assert send(client, a_manifest(2)).status_code == 409


def test_the_same_occurrence_is_the_same_batch_with_any_manifest(service: Service) -> None:
    for trigger in ("schedule:nightly", "trigger:inbox"):
        batch_id = trigger.replace(":", "-")
        for prompt in ("p", "q"):
            accepted = service.submission.submit(manifest(one=prompt), batch_id, trigger=trigger, folder=None)
            assert accepted.created == (prompt == "p")
