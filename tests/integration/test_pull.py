"""`pull`: the folder of a batch on this machine, against a real Valkey and S3 server."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.finished_batch import SHA256, end, videos, with_outputs
from support.images import JPEG

from pipeline.batches import folder_copy
from pipeline.cli.main import main
from pipeline.domain.model import Review
from pipeline.errors import StorageError
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage import object_chunks
from pipeline.storage.s3 import ObjectInfo, Storage

VIDEOS = videos("woman-1", "woman-2", "man")
RESULTS = {"manifest.yaml", "results.jsonl", "results.csv", "results.json", "index.html"}
MEDIA = {f"items/{name}/0.mp4" for name in VIDEOS} | {f"inputs/{SHA256}.jpg"}


@pytest.fixture(autouse=True)
def _service(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("PIPELINE_OUTPUT", bucket)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(ledger: Ledger, storage: Storage, bucket: str) -> str:
    """The folder on S3 of the ended batch `b`."""
    output = with_outputs(ledger, storage, bucket, VIDEOS)
    end(ledger, storage)
    return output


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(URI, first byte) of each range that is read from S3."""
    ranges: list[tuple[str, int]] = []
    read_range = Storage.read_range

    def record(self: Storage, info: ObjectInfo, start: int, count: int) -> bytes:
        ranges.append((info.uri, start))
        return read_range(self, info, start, count)

    monkeypatch.setattr(Storage, "read_range", record)
    return ranges


def pull(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["pull", *args])
    assert result.exit_code == code, result.output
    return result


def files_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("folder")
def test_outputs_results_and_gallery_come_into_a_folder_with_the_name_of_the_batch(tmp_path: Path) -> None:
    result = pull("b")
    assert files_in(tmp_path / "b") == RESULTS | MEDIA
    for name, (data,) in VIDEOS.items():
        assert (tmp_path / f"b/items/{name}/0.mp4").read_bytes() == data
    assert (tmp_path / f"b/inputs/{SHA256}.jpg").read_bytes() == JPEG
    assert "3 outputs. 9 files fetched" in result.stdout
    assert f"Gallery: {(tmp_path / 'b/index.html').as_uri()}" in result.stdout


@pytest.mark.usefixtures("folder")
def test_a_second_pull_fetches_nothing(tmp_path: Path, fetched: list[tuple[str, int]]) -> None:
    pull("b", "here")
    fetched.clear()
    result = pull("b", "here")
    assert fetched == []
    assert "All 9 files were there already." in result.stdout
    assert files_in(tmp_path / "here") == RESULTS | MEDIA


def test_only_what_is_missing_or_has_other_content_is_fetched(
    tmp_path: Path, folder: str, fetched: list[tuple[str, int]]
) -> None:
    pull("b")
    (tmp_path / "b/items/man/0.mp4").unlink()
    changed = tmp_path / "b/items/woman-1/0.mp4"
    changed.write_bytes(b"x" * changed.stat().st_size)
    fetched.clear()
    assert "2 files fetched" in pull("b").stdout
    assert {uri for uri, _ in fetched} == {f"{folder}items/man/0.mp4", f"{folder}items/woman-1/0.mp4"}
    assert [changed.read_bytes()] == VIDEOS["woman-1"]


def test_an_interrupted_copy_continues_where_it_was(
    tmp_path: Path, folder: str, fetched: list[tuple[str, int]]
) -> None:
    (data,) = VIDEOS["man"]
    items = tmp_path / "b/items/man"
    items.mkdir(parents=True)
    (items / ".0.mp4.part").write_bytes(data[:700])
    pull("b")
    assert (f"{folder}items/man/0.mp4", 700) in fetched
    assert (items / "0.mp4").read_bytes() == data
    assert files_in(tmp_path / "b") == RESULTS | MEDIA


@pytest.mark.parametrize("left", [b"other bytes of an older version", b"x" * 5000])
@pytest.mark.usefixtures("folder")
def test_what_an_interrupted_copy_of_other_bytes_left_is_not_kept(tmp_path: Path, left: bytes) -> None:
    items = tmp_path / "b/items/man"
    items.mkdir(parents=True)
    (items / ".0.mp4.part").write_bytes(left)
    pull("b")
    assert [(items / "0.mp4").read_bytes()] == VIDEOS["man"]


@pytest.mark.usefixtures("folder")
def test_a_file_appears_under_its_name_only_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Storage, info: ObjectInfo, start: int, count: int) -> bytes:
        if start or not info.uri.endswith("man/0.mp4"):
            raise KeyboardInterrupt
        return b"half"

    monkeypatch.setattr(Storage, "read_range", broken)
    pull("b", code=130)
    assert {name for name in files_in(tmp_path / "b") if not name.endswith(".part")} == set()


def test_large_files_are_read_in_ranges(
    ledger: Ledger, storage: Storage, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_chunks, "CHUNK_BYTES", 300)
    data = bytes(range(256)) * 4
    with_outputs(ledger, storage, bucket, {"i": [data, data[:300]]})
    pull("b")
    assert [(tmp_path / f"b/items/i/{n}.mp4").read_bytes() for n in range(2)] == [data, data[:300]]


def test_with_approved_only_the_approved_outputs_come_and_a_gallery_of_them(
    ledger: Ledger, tmp_path: Path, folder: str
) -> None:
    assert "is approved: nothing to copy" in pull("b", "--approved").stdout
    assert not (tmp_path / "b").exists()
    ledger.items.review("b", "man", Review("approved"))
    ledger.items.review("b", "woman-1", Review("rejected"))
    assert "1 approved output." in pull("b", "--approved").stdout
    assert files_in(tmp_path / "b") == RESULTS | {"items/man/0.mp4", f"inputs/{SHA256}.jpg"}
    page = (tmp_path / "b/index.html").read_text()
    assert re.findall(r'<video src="([^"]+)"', page) == ["items/man/0.mp4"]
    pull("b")
    assert files_in(tmp_path / "b") == RESULTS | MEDIA


def test_of_a_running_batch_comes_what_there_is(ledger: Ledger, storage: Storage, bucket: str, tmp_path: Path) -> None:
    with_outputs(ledger, storage, bucket, VIDEOS)
    result = pull("b")
    assert "Repeat the command for the rest." in result.stdout
    assert files_in(tmp_path / "b") == MEDIA | {"manifest.yaml", "index.html"}
    page = (tmp_path / "b/index.html").read_text()
    assert "items/man/0.mp4" in page
    # The results are written at the end.
    assert 'href="manifest.yaml"' in page
    assert "results.json" not in page


def test_an_output_that_s3_lacks_is_an_error_and_the_others_come(storage: Storage, folder: str, tmp_path: Path) -> None:
    storage.delete(f"{folder}items/man/0.mp4")
    storage.put(f"{folder}items/woman-1/0.mp4", VIDEOS["woman-1"][0].upper(), "video/mp4")
    result = pull("b", code=1)
    assert f"{folder}items/man/0.mp4" in result.stderr
    assert f"{folder}items/woman-1/0.mp4 has other bytes" in result.stderr
    assert "2 files of batch 'b' could not be copied." in result.stderr
    assert files_in(tmp_path / "b") == (RESULTS | MEDIA) - {"items/man/0.mp4", "items/woman-1/0.mp4"}


def test_a_file_that_s3_does_not_deliver_does_not_stop_the_others(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = f"{folder}items/man/0.mp4"
    monkeypatch.setattr(Storage, "read_range", _failing_for(refused))
    result = pull("b", code=1)
    assert "1 file of batch 'b' could not be copied." in result.stderr
    assert files_in(tmp_path / "b") == (RESULTS | MEDIA) - {"items/man/0.mp4"}


@pytest.mark.usefixtures("folder")
def test_a_copy_ends_if_s3_fails_for_one_file_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_copy, "_MAX_FAILURES_IN_A_ROW", 2)
    monkeypatch.setattr(Storage, "read_range", _failing_for("s3://"))
    result = pull("b", code=3)
    assert "S3 is busy." in result.stderr
    assert not files_in(tmp_path / "b")


def _failing_for(part: str) -> Callable[[Storage, ObjectInfo, int, int], bytes]:
    """Return a read of a range that fails for URIs with `part`."""
    read_range = Storage.read_range

    def read(self: Storage, info: ObjectInfo, start: int, count: int) -> bytes:
        if part in info.uri:
            raise StorageError("S3 is busy.", retryable=True)
        return read_range(self, info, start, count)

    return read


def test_a_record_that_names_an_object_outside_of_the_folder_writes_nothing_there(
    ledger: Ledger, storage: Storage, bucket: str, tmp_path: Path
) -> None:
    folder = with_outputs(ledger, storage, bucket, {"man": [b"video"]})
    outcome = ledger.redis.hget("dailies:batch:b:ended", "man")
    for uri in (f"{folder}../../escaped.mp4", f"{folder}/tmp/escaped.mp4", f"{folder}items\\\\..\\\\escaped.mp4"):
        ledger.redis.hset("dailies:batch:b:ended", "man", outcome.replace(f"{folder}items/man/0.mp4", uri))
        assert "0 outputs" in pull("b").stdout
        assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.usefixtures("folder")
def test_two_pulls_do_not_write_to_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    descriptor = os.open(tmp_path / "b", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert "Another `dailies pull` writes to b" in pull("b", code=1).stderr
        assert files_in(tmp_path / "b") == set()
    finally:
        os.close(descriptor)
    pull("b")


def test_a_missing_batch_is_exit_code_4_and_makes_no_folder(tmp_path: Path) -> None:
    assert "'nope'" in pull("nope", code=4).stderr
    assert list(tmp_path.glob("nope*")) == []


@pytest.mark.usefixtures("folder")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in pull("b", "file", code=2).stderr
    (tmp_path / "b").mkdir()
    (tmp_path / "b/items").write_text("")
    assert f"{Path('b/items')}" in pull("b", code=1).stderr


def test_no_file_overwrites_another_whose_name_only_some_systems_distinguish(
    tmp_path: Path, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    outputs = videos("Anna", "anna", "CON", "end.")
    with_outputs(ledger, storage, bucket, outputs)
    end(ledger, storage)
    result = pull("b")
    there = {str(file.relative_to(tmp_path / "b")): file.read_bytes() for file in (tmp_path / "b/items").rglob("*.mp4")}
    assert there == {
        "items/Anna/0.mp4": outputs["Anna"][0],
        "items/anna (2)/0.mp4": outputs["anna"][0],
        "items/_CON/0.mp4": outputs["CON"][0],
        "items/end_/0.mp4": outputs["end."][0],
    }
    assert "3 files renamed" in result.stdout
    assert "items/anna/0.mp4 is items/anna (2)/0.mp4" in result.stdout
    page = (tmp_path / "b/index.html").read_text()
    assert 'src="items/anna%20%282%29/0.mp4' in page
    assert "fetched" not in pull("b").stdout
