"""`validate`, `submit` and the commands that follow, with a real Valkey and S3 server, without a worker."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.images import JPEG
from support.ledger_fixtures import CANCELLED, FAILED, PENDING, RUNNING, SUBMITTING, claims, dues, running, succeed

from pipeline.cli.main import main
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.domain.wording import batch_words
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage

MANIFEST = """\
version: 1
name: la
items:
  - {id: one, image: face.jpg, prompt: "[red]smiles[/red]"}
  - {id: two, image: "https://example.com/2.jpg", prompt: nods}
  - {id: three, image: face.jpg, prompt: winks}
"""
WRONG = """\
version: 1
name: LA
colour: red
items:
  - {id: one, image: gone.jpg, prompt: smiles}
"""


@pytest.fixture(autouse=True)
def _service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("PIPELINE_OUTPUT", bucket)


def dailies(*args: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, args, input=stdin)


def a_manifest(folder: Path, text: str = MANIFEST) -> str:
    """Write a manifest and the image file that it refers to."""
    (folder / "face.jpg").write_bytes(JPEG)
    file = folder / "manifest.yaml"
    file.write_text(text)
    return str(file)


def finish(ledger: Ledger, batch_id: str, status: BatchState) -> BatchRow:
    lease = ledger.finalization.claim(batch_id, lease_s=60)
    assert lease
    row = ledger.batches.get(batch_id)
    ledger.finalization.complete(batch_id, lease, status, row.created, row.revision)
    return ledger.batches.get(batch_id)


def started(ledger: Ledger, batch_id: str) -> str:
    """Start the batch as the `start` job does."""
    ledger.batches.start(batch_id, price_usd=Decimal(0), max_failures=1000)
    return batch_id


def test_a_valid_manifest_is_reported_as_valid(tmp_path: Path) -> None:
    result = dailies("validate", a_manifest(tmp_path))
    assert result.exit_code == 0, result.output
    assert "3 items" in result.stdout


def test_all_errors_are_printed_at_once_with_their_positions(tmp_path: Path) -> None:
    file = a_manifest(tmp_path, WRONG)
    result = dailies("validate", file)
    assert result.exit_code == 2
    positions = [line.split(": ")[0] for line in result.stdout.splitlines()]
    assert [position.rsplit(":", 2)[:2] for position in positions] == [[file, "2"], [file, "3"], [file, "5"]]


def test_a_missing_manifest_is_exit_code_2(tmp_path: Path) -> None:
    for name in ("validate", "submit"):
        result = dailies(name, str(tmp_path / "gone.yaml"))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "gone.yaml cannot be read: No such file or directory" in result.stderr


def test_missing_rows_are_an_error_of_the_manifest(tmp_path: Path) -> None:
    file = a_manifest(tmp_path, "version: 1\nname: la\nitems_from: gone.csv\n")
    result = dailies("validate", file)
    assert result.exit_code == 2
    assert result.stdout.startswith(f"{file}:3:")


def test_a_manifest_is_read_from_stdin_or_s3(storage: Storage, bucket: str) -> None:
    text = b"version: 1\nname: la\nitems_from: rows.csv\n"
    storage.put(f"{bucket}in/m.yaml", text, "application/yaml")
    storage.put(f"{bucket}in/rows.csv", b"image,prompt\nhttps://example.com/1.jpg,smiles\n", "text/csv")
    assert "1 item" in dailies("validate", f"{bucket}in/m.yaml").stdout
    assert "1 item" in dailies("validate", "-", stdin=text.replace(b"rows.csv", f"{bucket}in/rows.csv".encode())).stdout
    assert dailies("validate", f"{bucket}in/gone.yaml").exit_code == 2


def test_submit_prints_the_batch_id_last_and_stores_its_inputs(
    tmp_path: Path, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    result = dailies("submit", a_manifest(tmp_path))
    assert result.exit_code == 0, result.output
    batch_id = result.stdout.splitlines()[-1]
    assert ledger.batches.get(batch_id).total == 3
    assert ledger.batches.get(batch_id).output == f"{bucket}{batch_id}/"
    (image,) = {row.image for row in ledger.items.stream(batch_id) if row.image and row.image.startswith("s3://")}
    assert storage.get(image) == JPEG
    assert storage.info(f"{bucket}{batch_id}/manifest.yaml")


def test_the_same_id_again_is_the_same_batch(tmp_path: Path, ledger: Ledger) -> None:
    file = a_manifest(tmp_path)
    first = json.loads(dailies("submit", file, "--batch-id", "mine", "--json").stdout)
    again = dailies("submit", file, "--batch-id", "mine", "--json")
    second = json.loads(again.stdout)
    assert (first["new"], second["new"]) == (True, False)
    assert first["id"] == second["id"] == "mine"
    assert first["created"] == second["created"]
    assert "exists already" in again.stderr
    assert len(list(ledger.items.stream("mine"))) == 3


def test_submit_as_json_is_one_document_with_the_output_folder(tmp_path: Path, bucket: str) -> None:
    result = dailies("submit", a_manifest(tmp_path), "--batch-id", "mine", "--json")
    printed = json.loads(result.stdout)
    assert printed["id"] == "mine"
    assert printed["status"] in ("queued", "running")
    assert printed["output"] == f"{bucket}mine/"
    assert printed["total"] == 3


def test_an_invalid_manifest_enqueues_nothing(tmp_path: Path, ledger: Ledger) -> None:
    result = dailies("submit", a_manifest(tmp_path, WRONG), "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 3
    assert ledger.queries.recent_batches() == []


def test_a_batch_id_that_cannot_be_a_folder_is_exit_code_2(tmp_path: Path, ledger: Ledger) -> None:
    assert dailies("submit", a_manifest(tmp_path), "--batch-id", "../x").exit_code == 2
    assert ledger.queries.recent_batches() == []


def test_without_redis_nothing_is_on_s3(
    tmp_path: Path, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    result = dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "127.0.0.1:1" in result.stderr
    assert list(storage.list(bucket)) == []


def test_without_s3_nothing_is_on_the_ledger(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    result = dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "does not answer" in result.stderr
    assert ledger.queries.recent_batches() == []


@pytest.mark.parametrize(("outcome", "code"), [(BatchState.SUCCEEDED, 0), (BatchState.PARTIAL, 1)])
def test_wait_ends_with_the_batch_and_its_outcome_is_the_exit_code(
    tmp_path: Path, ledger: Ledger, wait_for: Any, outcome: BatchState, code: int
) -> None:
    text = "version: 1\nname: la\nitems: [{id: one, image: 'https://example.com/1.jpg', prompt: x}]\n"
    file = a_manifest(tmp_path, text)
    results: list[Result] = []
    waiting = threading.Thread(
        target=lambda: results.append(dailies("submit", file, "--batch-id", "mine", "--wait", "--json"))
    )
    waiting.start()
    wait_for(lambda: ledger.batches.manifest_digest("mine") and ledger.batches.is_accepted("mine"), "the batch")
    started(ledger, "mine")
    if outcome == BatchState.SUCCEEDED:
        running(ledger)
        succeed(ledger, dues(ledger)[0])
    else:
        (claim,) = ledger.runs.mark_posting(claims(ledger))
        ledger.runs.end(claim.run, claim.lease, SUBMITTING, FAILED, {"error": "no"})
    finish(ledger, "mine", outcome)
    waiting.join(timeout=120)
    printed = json.loads(results[0].stdout)
    assert (results[0].exit_code, printed["status"]) == (code, outcome)
    assert f"mine {batch_words(outcome, {'failed': 1})} 1/1" in results[0].stderr


def test_cancel_ends_pending_items(tmp_path: Path, ledger: Ledger) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    started(ledger, "mine")
    running(ledger, 1)
    assert dailies("cancel", "mine").exit_code == 0
    assert ledger.batches.get("mine").status == BatchState.CANCELLING
    assert dict(ledger.batches.get("mine").counts) == {RUNNING: 1, CANCELLED: 2}
    assert Stop.BY_HAND in dailies("status", "mine").stdout


def test_retry_takes_failed_items_and_unknown_ones_only_when_named(tmp_path: Path, ledger: Ledger) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    started(ledger, "mine")
    first, second, third = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.end(first.run, first.lease, SUBMITTING, FAILED, {"error": "no"})
    ledger.runs.end(second.run, second.lease, SUBMITTING, CANCELLED, {"error": "no"})
    ledger.runs.mark_unknown(third.run, third.lease, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    finish(ledger, "mine", BatchState.FAILED)
    assert "1 item" in dailies("retry", "mine").stdout
    assert ledger.batches.get("mine").counts == {PENDING: 1, CANCELLED: 1, ItemState.UNKNOWN: 1}
    assert "no ended item" in dailies("retry", "mine").stdout
    assert "1 item" in dailies("retry", "mine", "--status", "unknown").stdout
    assert ledger.batches.get("mine").counts == {PENDING: 2, CANCELLED: 1}
    assert "1 item" in dailies("retry", "mine", "--status", "failed,cancelled").stdout
    assert ledger.batches.get("mine").counts == {PENDING: 3}


def test_results_are_printed_once_they_are_on_s3(tmp_path: Path, ledger: Ledger, storage: Storage) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    result = dailies("results", "mine")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has not ended" in result.stderr
    text = b'{"version":1,"prompt":"\xe6\xb7\xb1"}\n'
    storage.put(f"{ledger.batches.get('mine').output}results.json", text, "application/json")
    assert dailies("results", "mine").stdout_bytes == text


def test_a_batch_that_redis_has_lost_is_recovered(tmp_path: Path, ledger: Ledger, redis_url: str, bucket: str) -> None:
    from redis import Redis

    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    with Redis.from_url(redis_url) as client:
        client.flushall()
    again = dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    assert again.exit_code == 2
    assert "dailies recover" in again.stderr
    assert dailies("recover", f"{bucket}mine/").stdout == "mine\n"
    assert [row.id for row in ledger.items.stream("mine")] == ["one", "two", "three"]
    assert dailies("recover", f"{bucket}nope/").exit_code == 4


def test_a_poisoned_journal_puts_nothing_on_the_ledger_that_stops_other_runs(
    tmp_path: Path, ledger: Ledger, redis_url: str, bucket: str, storage: Storage
) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    ledger.redis.flushall()
    spec: dict[str, Any] = {"image": None, "prompt": "p", "params": {}}
    foreign = ["x y:z", "a b c", "mine:specs x", "../x", ""]
    entries = [
        *({"do": "add", "item": item, "spec": spec} for item in foreign),
        *({"do": "run", "item": item, "attempt": 1} for item in foreign),
        *({"do": "task", "item": item, "attempt": 1, "task": "t", "token": "t"} for item in foreign),
        {"do": "run", "item": "one", "attempt": 1},
        {"do": "task", "item": "one", "attempt": 1, "task": "t1", "token": "t1"},
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    storage.put(f"{bucket}mine/journal/poison.jsonl", text.encode(), "application/x-ndjson")
    assert dailies("recover", f"{bucket}mine/").stdout == "mine\n"
    assert [row.id for row in ledger.items.stream("mine")] == ["one", "two", "three"]
    assert [due.run.item for due in dues(ledger)] == ["one"]
    ledger.runs.expire_leases(adopt_wait_s=1, on_unknown="hold")
    assert ledger.set_aside.number() == 0


def test_a_damaged_line_of_the_journal_is_named_and_no_item_is_bought_that_it_may_be_about(
    tmp_path: Path, ledger: Ledger, bucket: str, storage: Storage
) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    ledger.redis.flushall()
    storage.put(f"{bucket}mine/journal/damaged.jsonl", b'{"do": "stop", "reason": "x"}\n{"do"', "application/x-ndjson")
    assert dailies("recover", f"{bucket}mine/").exit_code == 0
    assert {row.status for row in ledger.items.stream("mine")} == {ItemState.UNKNOWN}
    assert "damaged.jsonl:2" in "".join(dailies("status", "mine").stdout.split())


def test_ids_of_commands_are_checked(tmp_path: Path, ledger: Ledger, bucket: str) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    for command in ("status", "items", "results", "cancel", "retry", "pause", "resume", "watch"):
        refused = dailies(command, "mine:specs")
        assert (refused.exit_code, "mine:specs" in refused.stderr) == (4, True), command
    assert dailies("logs", "mine", "one:x").exit_code == 4
    assert "\x1b" not in dailies("status", "\x1b[2J").stderr
    assert dailies("recover", f"{bucket}mine:specs/").exit_code == 2
