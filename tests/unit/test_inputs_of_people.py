"""`init`, `validate` and the dry run on files and folders as people have them."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.images import JPEG

from pipeline.cli.main import main
from pipeline.manifest.parser import parse

DATA = Path(__file__).parents[1] / "data"
SMILES = ("--prompt", "She smiles")
HTML = b"<!doctype html><html></html>"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WIRO_API_KEY", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def run(*args: str) -> Result:
    result = CliRunner().invoke(main, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("command", [("init",), ("submit", "--dry-run"), ("validate", "--offline")])
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("tables/typo-header.csv", ":1:10: the column 'promt' is unknown: did you mean 'prompt'?"),
        ("manifests/nbsp.yaml", ":4:4: a no-break space (U+00A0) is here"),
        ("manifests/nbsp-colon.yaml", ":5:12: a no-break space (U+00A0) is here"),
        (
            "manifests/windows-path.yaml",
            ":4:13: image must be a file in the manifest's folder or below it, written with",
        ),
    ],
)
def test_a_case_that_must_be_refused_is_told_by_every_command(
    case: str, expected: str, command: tuple[str, ...]
) -> None:
    result = run(*command, str(DATA / case))
    assert result.exit_code == 2
    assert f"{DATA / case}{expected}" in result.output


@pytest.mark.parametrize(
    ("case", "prompt"),
    [
        ("tables/airtable.csv", "She smiles"), ("tables/numbers-de.csv", "Sie lächelt"),
        ("tables/sep-line.csv", "She smiles"), ("tables/trailing-columns.csv", "She smiles"),
        ("manifests/upper-scheme.yaml", "hi"),
    ],
)  # fmt: skip
def test_what_init_prints_of_a_case_is_a_manifest(case: str, prompt: str) -> None:
    result = run("init", str(DATA / case))
    assert result.exit_code == 0, result.output
    (item,) = parse(result.stdout.encode(), file="m", read_rows=lambda _: b"", local_files=None).items
    assert (item.prompt, (item.image or "")[:20]) == (prompt, "https://example.com/")


def test_a_folder_with_names_of_people_becomes_a_manifest_and_a_dry_run(tmp_path: Path) -> None:
    folder = tmp_path / unicodedata.normalize("NFD", "Meine Größen ü")
    folder.mkdir()
    names = [unicodedata.normalize(form, "Müller.JPG") for form in ("NFC", "NFD")]
    names += ["😀 smile.jpeg", "x" * 240 + ".jpg", "wrong ending.png", 'it\'s, "1".jpg', "#1.jpg", "a: b.jpg"]
    for name in (*names, "notes.txt", "prompt.txt", "Thumbs.db", "._a.jpg", ".hidden.jpg"):
        (folder / name).write_bytes(JPEG)
    (folder / "link.jpg").symlink_to(names[0])
    (folder / "out.jpg").symlink_to(__file__)
    (folder / "loop").symlink_to(".")
    result = run("init", folder.name, *SMILES)
    assert result.exit_code == 0, result.output
    manifest = parse(result.stdout.encode(), file="m", read_rows=lambda _: b"", local_files=tmp_path)
    assert {(item.image or "").rpartition("/")[2] for item in manifest.items} == {*names, "link.jpg"}
    assert len({item.id for item in manifest.items}) == len(manifest.items)
    dry = run("submit", "--dry-run", folder.name, *SMILES)
    assert dry.exit_code == 0, dry.output
    assert f"{len(manifest.items)} items of" in dry.output


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("empty.jpg", b"", "is an empty file"),
        ("page.jpg", HTML, "is an HTML page, not an image"),
        ("IMG_1.HEIC", HEIC, "is a HEIC image: convert it to JPEG"),
        ("half.jpg", JPEG[:-2], "is truncated"),
    ],
)
def test_a_file_that_is_no_image_is_named_before_anything_is_sent(name: str, data: bytes, expected: str) -> None:
    Path("faces").mkdir()
    Path("faces/1.jpg").write_bytes(JPEG)
    (Path("faces") / name).write_bytes(data)
    for command in (("init",), ("submit", "--dry-run")):
        result = run(*command, "faces", *SMILES)
        assert result.exit_code == 2
        assert f"faces/{name}:1:1: image" in result.output
        assert expected in result.output


def test_a_name_that_is_not_utf_8_is_told_as_such() -> None:
    Path("faces").mkdir()
    try:
        Path(os.fsdecode(b"faces/bad\xff.jpg")).write_bytes(JPEG)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    result = run("init", "faces", *SMILES)
    assert result.exit_code == 2
    assert "the name is not UTF-8. Rename it." in result.output


def test_a_pipe_is_a_manifest_and_is_read_once() -> None:
    reader, writer = os.pipe()
    os.write(writer, (DATA / "manifests/upper-scheme.yaml").read_bytes())
    os.close(writer)
    try:
        result = run("validate", "--offline", f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert result.exit_code == 0, result.output


def test_a_file_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("1.jpg").write_bytes(JPEG)
    read = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        # As root, the tests can read every file.
        if path.name == "1.jpg":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in run("init", "1.jpg", *SMILES).output
