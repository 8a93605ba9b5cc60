"""Rows, images and folders that are given in place of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.images import HTML, JPEG
from support.model_schemas import IMAGE, PROMPT, RATIO, a_schema

from pipeline.errors import CannotRead, InvalidArguments, InvalidManifest
from pipeline.manifest.loader import LoadedManifest
from pipeline.manifest.model_check import SchemaOf
from pipeline.manifest.parser import dump
from pipeline.manifest.sources import SourceOptions, load_source, relative_to
from pipeline.storage.s3 import Storage

SMILES = ("She smiles",)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def no_storage() -> Storage:
    raise AssertionError("S3 is not needed")


def loaded(paths: Sequence[str], schema_of: SchemaOf | None = None, **options: Any) -> LoadedManifest:
    return load_source(paths, SourceOptions(**options), no_storage, schema_of)


def a_folder(*names: str, data: bytes = JPEG) -> None:
    """Create `photos/` with these files."""
    for name in names:
        file = Path("photos") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def test_a_folder_is_its_images_in_natural_order() -> None:
    a_folder("10.jpg", "2.jpg", "Anna Müller.jpg", "b+c 100%.JPEG", "müller-straße.png")
    found = loaded(["photos"], prompts=SMILES, budget_usd=Decimal("5.00"), params={"seed": "7"})
    assert [(item.id, item.image, item.prompt) for item in found.manifest.items] == [
        ("2", "photos/2.jpg", "She smiles"),
        ("10", "photos/10.jpg", "She smiles"),
        ("anna-mueller", "photos/Anna Müller.jpg", "She smiles"),
        ("b-c-100", "photos/b+c 100%.JPEG", "She smiles"),
        ("mueller-strasse", "photos/müller-straße.png", "She smiles"),
    ]
    manifest = found.manifest
    assert (manifest.name, manifest.limits.budget_usd, manifest.params) == ("photos", Decimal("5.00"), {"seed": "7"})
    assert found.notes == ()


def test_hidden_and_other_files_and_folders_are_passed_over_with_a_note() -> None:
    a_folder("1.jpg", ".DS_Store", "._1.jpg", "~$1.jpg", "notes.txt", "2.jpg.part", ".hidden.jpg", "sub/2.jpg")
    found = loaded(["photos"], prompts=SMILES)
    assert [item.image for item in found.manifest.items] == ["photos/1.jpg"]
    assert found.notes[0].startswith("Passed over 6 other files: ")
    assert found.notes[1] == "Passed over 1 folder: sub. --recursive reads them, too."


def test_named_files_and_folders_that_systems_make_are_passed_over() -> None:
    a_folder("1.jpg", "~$1.jpg", "__MACOSX/1.jpg", "sub/2.tmp")
    found = loaded(["photos"], prompts=SMILES, recursive=True)
    assert [item.image for item in found.manifest.items] == ["photos/1.jpg"]
    found = loaded(["photos/1.jpg", "photos/~$1.jpg"], prompts=SMILES)
    assert [item.image for item in found.manifest.items] == ["photos/1.jpg"]
    assert found.notes == ("Passed over 1 other file: photos/~$1.jpg.",)
    with pytest.raises(CannotRead, match="Name another file"):
        loaded(["photos/~$1.jpg"], prompts=SMILES)


def test_folders_in_folders_are_read_on_request_and_ids_stay_unique() -> None:
    a_folder("1.jpg", "x/1.jpg", "x/2.jpg", ".git/3.jpg")
    found = loaded(["photos"], prompts=SMILES, recursive=True)
    assert [(item.id, item.image) for item in found.manifest.items] == [
        ("photos-1", "photos/1.jpg"),
        ("photos-x-1", "photos/x/1.jpg"),
        ("2", "photos/x/2.jpg"),
    ]


def test_every_image_is_run_with_every_prompt() -> None:
    a_folder("a.jpg", "b.jpg")
    found = loaded(["photos/b.jpg", "photos/a.jpg"], prompts=("one", "two 😀"))
    assert found.manifest.name == "photos"
    assert [(item.id, item.prompt) for item in found.manifest.items] == [
        ("b-1", "one"), ("b-2", "two 😀"), ("a-1", "one"), ("a-2", "two 😀"),
    ]  # fmt: skip


def test_an_image_outside_of_the_current_folder_is_found_from_a_common_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_folder("a.jpg", "x/b.jpg")
    monkeypatch.chdir(tmp_path / "photos" / "x")
    found = loaded(["../a.jpg", "b.jpg"], prompts=SMILES)
    assert found.folder == tmp_path / "photos"
    assert [item.image for item in found.manifest.items] == ["a.jpg", "x/b.jpg"]


def test_a_link_that_is_named_is_followed_and_one_in_a_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    a_folder("1.jpg")
    Path("photos/link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert [item.id for item in loaded(["photos/link.jpg"], prompts=SMILES).manifest.items] == ["link"]
    found = loaded(["photos"], prompts=SMILES)
    assert [item.id for item in found.manifest.items] == ["1"]
    assert found.notes == ("Passed over 1 other file: link.jpg (a link out of the folder).",)


@pytest.mark.parametrize(
    ("paths", "options", "expected"),
    [
        (["photos"], {}, "--prompt is missing"),
        (["photos", "rows.csv"], {"prompts": SMILES}, "rows.csv is a file of rows"),
        (["m.yaml", "photos"], {}, "m.yaml is a manifest"),
        (["photos/1.jpg", "notes.txt"], {"prompts": SMILES}, "notes.txt is no image"),
        (["rows.csv", "rows.csv"], {}, "Give one manifest, or one file of rows"),
        (["rows.csv"], {"prompts": SMILES}, "--prompt is for images, and rows.csv is a file of rows"),
        (["m.yaml"], {"budget_usd": Decimal(5)}, "--budget is for images and rows, and m.yaml is a manifest"),
        (["m.yaml"], {"ignore_columns": ("Notes",)}, "--ignore-columns is for rows"),
        (["photos"], {"prompts": SMILES, "ignore_columns": ("Notes",)}, "--ignore-columns is for rows"),
        (["https://e.com/1.jpg"], {"prompts": SMILES}, "is an address"),
        (["photos"], {"prompts": SMILES, "name": "!"}, "--name has no letters or digits"),
    ],
)
def test_what_does_not_fit_together_is_refused(paths: list[str], options: dict[str, Any], expected: str) -> None:
    a_folder("1.jpg")
    Path("rows.csv").write_text("prompt\nx\n")
    Path("notes.txt").write_text("text")
    Path("m.yaml").write_text("version: 1\nname: m\nitems: [{prompt: x}]\n")
    with pytest.raises(InvalidArguments) as caught:
        loaded(paths, **options)
    assert expected in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_path_without_images_is_an_error() -> None:
    a_folder("notes.txt", "sub/1.jpg")
    with pytest.raises(
        CannotRead, match=r"photos has no images .* 1 other file. Its folders are read with --recursive"
    ):
        loaded(["photos"], prompts=SMILES)
    for gone in ("gone.jpg", "gone/", "gone"):
        with pytest.raises(CannotRead, match=f"{gone} cannot be read: No such file"):
            loaded([gone], prompts=SMILES)


def test_a_file_that_no_run_can_use_is_an_error_with_its_name() -> None:
    a_folder("a.heic", data=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    a_folder("b.jpg", data=HTML)
    a_folder("c.jpg")
    with pytest.raises(InvalidManifest) as caught:
        loaded(["photos"], prompts=("one", "two"))
    first, second = map(str, caught.value.problems)
    assert first.startswith("photos/a.heic:1:1: image 'photos/a.heic' is a HEIC image: convert it to JPEG")
    assert second.startswith("photos/b.jpg:1:1: image 'photos/b.jpg' is an HTML page")


def test_a_param_that_the_model_does_not_have_is_an_error_of_the_command_line() -> None:
    a_folder("1.jpg", "2.jpg")
    with pytest.raises(InvalidManifest) as caught:
        loaded(["photos"], lambda model: a_schema(PROMPT, IMAGE, RATIO), prompts=SMILES, params={"ratoi": "1"})
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(
        "command line:1:1: the model acme/animate has no parameter 'ratoi': did you mean 'ratio'?"
    )


def test_a_model_that_takes_no_prompt_needs_none() -> None:
    a_folder("1.jpg")
    found = loaded(["photos"], lambda model: a_schema(IMAGE), model="acme/animate")
    assert [(item.image, item.prompt) for item in found.manifest.items] == [("photos/1.jpg", None)]


def test_rows_are_a_manifest_of_their_own_with_their_lines() -> None:
    a_folder("1.jpg")
    Path("photos/Winter Rows.csv").write_text("Image,Prompt,Notes\n1.jpg,x,\ngone.jpg,y,\n")
    with pytest.raises(InvalidManifest) as caught:
        loaded(["photos/Winter Rows.csv"])
    assert [str(problem)[:60] for problem in caught.value.problems] == [
        "photos/Winter Rows.csv:3:1: image is a file that does not exi"[:60]
    ]
    Path("photos/Winter Rows.csv").write_text("Image,Prompt,Notes\n1.jpg,x,private\n")
    found = loaded(["photos/Winter Rows.csv"], ignore_columns=("notes",), attempts=2)
    assert (found.manifest.name, found.manifest.limits.attempts) == ("winter-rows", 2)
    assert found.manifest.items[0].params == {}
    assert [column.meaning for column in found.columns] == ["image", "prompt", "ignored"]


def test_columns_of_rows_that_a_manifest_names_can_be_ignored() -> None:
    Path("rows.csv").write_text("Prompt,Notes\nx,private\n")
    Path("m.yaml").write_text("version: 1\nname: m\nitems_from: rows.csv\n")
    assert loaded(["m.yaml"], ignore_columns=("Notes",)).manifest.items[0].params == {}


def test_the_manifest_of_a_folder_is_the_same_batch_when_it_is_saved_and_submitted() -> None:
    a_folder("1.jpg", "Ü 2.jpg")
    found = loaded(["photos"], prompts=("x", "y"), name="Summer 2026")
    Path("batch.yaml").write_bytes(dump(relative_to(found, Path()).manifest))
    assert loaded(["batch.yaml"]).manifest == found.manifest
    Path("photos/rows.csv").write_text("image\n1.jpg\n")
    rows = loaded(["photos/rows.csv"])
    moved = relative_to(rows, Path())
    assert [item.image for item in moved.manifest.items] == ["photos/1.jpg"]
    assert relative_to(rows, Path("photos")).manifest.items[0].image == "1.jpg"
    assert relative_to(rows, Path("..") / "elsewhere").folder == rows.folder
