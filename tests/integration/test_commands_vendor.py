"""Commands that send requests to the vendor: the price of a model, the messages of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.ledger_fixtures import a_batch

from pipeline.cli.main import main
from pipeline.ledger.ledger import Ledger
from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import load
from pipeline.wiro.client import ImageField, RunImage, Wiro

MODEL = "minimax/image-to-video-hailuo-01-subject"
MANIFEST = """\
version: 1
name: la
output: s3://bucket/prefix/
limits: {budget_usd: "0.10"}
items:
  - {id: one, image: "https://example.invalid/1.jpg", prompt: "[red]smiles[/red]"}
  - {id: two, image: "https://example.invalid/2.jpg", prompt: nods}
"""


@pytest.fixture(autouse=True)
def _vendor(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    file = tmp_path / "manifest.yaml"
    file.write_text(MANIFEST)
    return str(file)


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.mark.usefixtures("no_redis")
def test_a_dry_run_needs_no_redis_and_runs_nothing(manifest: str, sandbox: Sandbox) -> None:
    result = dailies("submit", manifest, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "[red]smiles[/red]" in result.stdout
    assert "$0.18" in result.stdout
    assert "more than limits.budget_usd" in result.stdout
    assert sandbox.tasks() == []


@pytest.mark.usefixtures("no_redis")
def test_a_dry_run_as_json_is_one_document(manifest: str) -> None:
    printed = json.loads(dailies("submit", manifest, "--dry-run", "--json").stdout)
    assert (printed["total"], printed["per_run_usd"], printed["estimated_cost_usd"]) == (2, "0.09", "0.18")
    assert [item["id"] for item in printed["items"]] == ["one", "two"]


@pytest.mark.usefixtures("no_redis")
def test_a_dry_run_without_a_price_shows_the_reason(manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRO_API_URL", "http://127.0.0.1:1/v1")
    result = dailies("submit", manifest, "--dry-run")
    assert result.exit_code == 0
    assert "The cost is unknown" in result.stdout


def test_logs_show_the_messages_of_a_run_until_it_ends(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(ledger.runs.claim_pending(1, lease_s=60, max_active=0).runs)
    wiro = Wiro.from_settings(load())
    run = wiro.run(
        MODEL,
        {"prompt": "x"},
        image=RunImage(ImageField("inputImageFirst", "fileinput"), "https://example.com/1.jpg", None),
    )
    wiro.close()
    ledger.runs.accept(claim.run, claim.lease, run.task_id, run.token, 60)
    first = dailies("logs", "b", "i0")
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith(f"run {run.task_id}, attempt 1\n")
    assert first.stdout.splitlines()[-1].startswith("task_postprocess_end")
    again = dailies("logs", "b", "i0")
    assert (again.exit_code, len(again.stdout.splitlines())) == (0, 2)
