"""`submit` and `init` of folders, images and rows, with a real Valkey and S3 server, without a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.images import JPEG

from pipeline.cli.main import main
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage


@pytest.fixture(autouse=True)
def _service(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("PIPELINE_OUTPUT", bucket)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("Anna Müller.jpg", "b+c 100%.JPEG", ".DS_Store", "notes.txt"):
        (tmp_path / "photos" / name).write_bytes(JPEG if name.lower().endswith(("jpg", "jpeg")) else b"text")


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def test_a_folder_becomes_a_batch_with_its_images_on_s3(ledger: Ledger, storage: Storage) -> None:
    result = dailies("submit", "photos", "--prompt", "smiles", "--prompt", "nods", "--budget", "5")
    assert result.exit_code == 0, result.output
    assert "Passed over 2 other files" in result.stderr
    batch_id = result.stdout.splitlines()[-1]
    assert batch_id.startswith("photos-")
    rows = list(ledger.items.stream(batch_id))
    assert [row.id for row in rows] == ["anna-mueller-1", "anna-mueller-2", "b-c-100-1", "b-c-100-2"]
    assert {storage.get(row.image or "") for row in rows} == {JPEG}


def test_the_printed_manifest_of_a_folder_is_the_same_batch(ledger: Ledger) -> None:
    printed = dailies("init", "photos", "--prompt", "smiles", "--budget", "5")
    assert printed.exit_code == 0, printed.output
    Path("batch.yaml").write_bytes(printed.stdout_bytes)
    assert dailies("submit", "batch.yaml", "--batch-id", "mine").exit_code == 0
    again = dailies("submit", "photos", "--prompt", "smiles", "--budget", "5", "--batch-id", "mine")
    assert again.exit_code == 0, again.output
    assert "exists already" in again.stderr


def test_rows_become_a_batch_with_files_beside_them(ledger: Ledger, storage: Storage, bucket: str) -> None:
    Path("photos/Winter.csv").write_text("ID,Picture,Prompt\none,Anna Müller.jpg,smiles\n")
    batch_id = dailies("submit", "photos/Winter.csv", "--name", "Winter 2026").stdout.splitlines()[-1]
    (row,) = ledger.items.stream(batch_id)
    assert (row.id, storage.get(row.image or "")) == ("one", JPEG)
    assert batch_id.startswith("winter-2026-")
    storage.put(f"{bucket}in/rows.tsv", b"ID\tPrompt\ntwo\tnods\n", "text/tab-separated-values")
    batch_id = dailies("submit", f"{bucket}in/rows.tsv").stdout.splitlines()[-1]
    assert [row.id for row in ledger.items.stream(batch_id)] == ["two"]


def test_what_cannot_be_submitted_is_exit_code_2_and_creates_nothing(ledger: Ledger) -> None:
    Path("rows.csv").write_text("prompt\nx\n")
    for line in ("", "photos", "photos rows.csv --prompt x", "rows.csv --prompt x", "photos --prompt x --budget 0"):
        result = dailies("submit", *line.split())
        assert (result.exit_code, result.stdout) == (2, ""), line
        assert result.stderr, line
    assert ledger.queries.recent_batches() == []
