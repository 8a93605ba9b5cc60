"""`validate`, `submit` and what follows, with a real Valkey and a real S3 server, no worker."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.ledger_fixtures import CANCELLED, FAILED, PENDING, RUNNING, SUBMITTING, claims, dues, running, succeed

from pipeline.cli.main import main
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BatchState, ItemState, Stop
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
    """A manifest with the picture that it names beside it."""
    (folder / "face.jpg").write_bytes(b"\xff\xd8a face")
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
    """The batch runs, as the `start` job would have it."""
    ledger.batches.start(batch_id, price_usd=Decimal(0), max_failures=1000)
    return batch_id


def test_a_right_manifest_is_said_to_be_right(tmp_path: Path) -> None:
    answer = dailies("validate", a_manifest(tmp_path))
    assert answer.exit_code == 0, answer.output
    assert "3 items" in answer.stdout


def test_every_mistake_is_named_at_once_with_its_place(tmp_path: Path) -> None:
    file = a_manifest(tmp_path, WRONG)
    answer = dailies("validate", file)
    assert answer.exit_code == 2
    places = [line.split(": ")[0] for line in answer.stdout.splitlines()]
    assert [place.rsplit(":", 2)[:2] for place in places] == [[file, "2"], [file, "3"], [file, "5"]]


def test_a_manifest_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    for name in ("validate", "submit"):
        answer = dailies(name, str(tmp_path / "gone.yaml"))
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert "gone.yaml cannot be read: No such file or directory" in answer.stderr


def test_rows_that_are_not_there_are_a_mistake_of_the_manifest(tmp_path: Path) -> None:
    file = a_manifest(tmp_path, "version: 1\nname: la\nitems_from: gone.csv\n")
    answer = dailies("validate", file)
    assert answer.exit_code == 2
    assert answer.stdout.startswith(f"{file}:3:")


def test_a_manifest_may_come_from_stdin_or_s3(storage: Storage, bucket: str) -> None:
    text = b"version: 1\nname: la\nitems_from: rows.csv\n"
    storage.put(f"{bucket}in/m.yaml", text, "application/yaml")
    storage.put(f"{bucket}in/rows.csv", b"image,prompt\nhttps://example.com/1.jpg,smiles\n", "text/csv")
    assert "1 item" in dailies("validate", f"{bucket}in/m.yaml").stdout
    assert "1 item" in dailies("validate", "-", stdin=text.replace(b"rows.csv", f"{bucket}in/rows.csv".encode())).stdout
    assert dailies("validate", f"{bucket}in/gone.yaml").exit_code == 2


def test_submit_prints_the_batch_id_last_and_stores_its_inputs(
    tmp_path: Path, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    answer = dailies("submit", a_manifest(tmp_path))
    assert answer.exit_code == 0, answer.output
    batch_id = answer.stdout.splitlines()[-1]
    assert ledger.batches.get(batch_id).total == 3
    assert ledger.batches.get(batch_id).output == f"{bucket}{batch_id}/"
    (image,) = {row.image for row in ledger.items.stream(batch_id) if row.image and row.image.startswith("s3://")}
    assert storage.get(image) == b"\xff\xd8a face"
    assert storage.info(f"{bucket}{batch_id}/manifest.yaml")


def test_the_same_id_again_is_the_same_batch(tmp_path: Path, ledger: Ledger) -> None:
    file = a_manifest(tmp_path)
    first = json.loads(dailies("submit", file, "--batch-id", "mine", "--json").stdout)
    again = dailies("submit", file, "--batch-id", "mine", "--json")
    second = json.loads(again.stdout)
    assert (first["new"], second["new"]) == (True, False)
    assert first["id"] == second["id"] == "mine"
    assert first["created"] == second["created"]
    assert "was there already" in again.stderr
    assert len(list(ledger.items.stream("mine"))) == 3


def test_submit_as_json_is_one_document_that_says_where_the_batch_is(tmp_path: Path, bucket: str) -> None:
    answer = dailies("submit", a_manifest(tmp_path), "--batch-id", "mine", "--json")
    found = json.loads(answer.stdout)
    assert found["id"] == "mine"
    assert found["status"] in ("queued", "running")
    assert found["output"] == f"{bucket}mine/"
    assert found["total"] == 3


def test_a_wrong_manifest_enqueues_nothing(tmp_path: Path, ledger: Ledger) -> None:
    answer = dailies("submit", a_manifest(tmp_path, WRONG), "--json")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert len(answer.stderr.splitlines()) == 3
    assert ledger.queries.recent_batches() == []


def test_a_batch_id_that_is_no_folder_is_exit_code_2(tmp_path: Path, ledger: Ledger) -> None:
    assert dailies("submit", a_manifest(tmp_path), "--batch-id", "../x").exit_code == 2
    assert ledger.queries.recent_batches() == []


def test_without_redis_nothing_is_on_s3(
    tmp_path: Path, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    answer = dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert "127.0.0.1:1" in answer.stderr
    assert list(storage.list(bucket)) == []


def test_without_s3_nothing_is_on_the_ledger(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    answer = dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert "does not answer" in answer.stderr
    assert ledger.queries.recent_batches() == []


@pytest.mark.parametrize(("outcome", "code"), [(BatchState.SUCCEEDED, 0), (BatchState.PARTIAL, 1)])
def test_waiting_ends_with_the_batch_and_its_outcome_is_the_exit_code(
    tmp_path: Path, ledger: Ledger, wait_for: Any, outcome: BatchState, code: int
) -> None:
    text = "version: 1\nname: la\nitems: [{id: one, image: 'https://example.com/1.jpg', prompt: x}]\n"
    file = a_manifest(tmp_path, text)
    answers: list[Result] = []
    waiting = threading.Thread(
        target=lambda: answers.append(dailies("submit", file, "--batch-id", "mine", "--wait", "--json"))
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
    waiting.join(timeout=30)
    found = json.loads(answers[0].stdout)
    assert (answers[0].exit_code, found["status"]) == (code, outcome)
    assert f"mine {outcome} 1/1" in answers[0].stderr


def test_cancel_ends_what_waits(tmp_path: Path, ledger: Ledger) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    started(ledger, "mine")
    running(ledger, 1)
    assert dailies("cancel", "mine").exit_code == 0
    assert ledger.batches.get("mine").status == BatchState.CANCELLING
    assert dict(ledger.batches.get("mine").counts) == {RUNNING: 1, CANCELLED: 2}
    assert Stop.BY_HAND in dailies("status", "mine").stdout


def test_retry_opens_failed_and_unknown_items_unless_told_otherwise(tmp_path: Path, ledger: Ledger) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    started(ledger, "mine")
    first, second, third = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.end(first.run, first.lease, SUBMITTING, FAILED, {"error": "no"})
    ledger.runs.end(second.run, second.lease, SUBMITTING, CANCELLED, {"error": "no"})
    ledger.runs.mark_unknown(third.run, third.lease, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    finish(ledger, "mine", BatchState.FAILED)
    assert "1 item" in dailies("retry", "mine", "--status", "failed").stdout
    assert ledger.batches.get("mine").counts == {PENDING: 1, CANCELLED: 1, ItemState.UNKNOWN: 1}
    assert "1 item" in dailies("retry", "mine").stdout
    assert ledger.batches.get("mine").counts == {PENDING: 2, CANCELLED: 1}
    assert "no ended item" in dailies("retry", "mine").stdout


def test_results_are_those_on_s3_once_the_batch_has_ended(tmp_path: Path, ledger: Ledger, storage: Storage) -> None:
    dailies("submit", a_manifest(tmp_path), "--batch-id", "mine")
    answer = dailies("results", "mine")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "has not ended" in answer.stderr
    text = b'{"version":1,"prompt":"\xe6\xb7\xb1"}\n'
    storage.put(f"{ledger.batches.get('mine').output}results.json", text, "application/json")
    assert dailies("results", "mine").stdout_bytes == text


def test_a_batch_that_redis_lost_is_recovered(tmp_path: Path, ledger: Ledger, redis_url: str, bucket: str) -> None:
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
