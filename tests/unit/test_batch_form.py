"""The form of a new batch means a manifest, and a manifest is shown as a form."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.domain.model import Manifest
from pipeline.errors import InvalidManifest
from pipeline.manifest import parser
from pipeline.manifest.uploaded_images import UploadedImages
from pipeline.web import app
from pipeline.web.dashboard.batch_form import MAX_MANIFEST_BYTES, BatchForm, FormManifest, form_of

MODEL = "acme/animate"


def a_form(**fields: Any) -> BatchForm:
    fields.setdefault("items", [{"image": "https://example.com/1.jpg", "prompt": "She smiles"}])
    return BatchForm.model_validate({"model": MODEL, **fields})


def parse(text: bytes) -> Manifest:
    return parser.parse(text, file="m", read_rows=lambda name: b"", local_files=UploadedImages({}))


def manifest_of(form: BatchForm) -> Manifest:
    return parse(FormManifest(form).text)


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("Summer Campaign 2026", "summer-campaign-2026"),
        ("Müller & Söhne", "mueller-soehne"),
        ("  ", "batch"),
        ("la-street", "la-street"),
    ],
)
def test_any_name_becomes_a_valid_one(name: str, valid: str) -> None:
    assert manifest_of(a_form(name=name)).name == valid


def test_items_of_files_have_readable_ids_and_other_items_keep_theirs() -> None:
    images = ["Anna Müller.jpg", "faces/b+c 100%.JPEG", "Anna Müller.jpg"]
    form = a_form(prompt="She smiles", items=[*({"image": image} for image in images), {"id": "x-1", "prompt": "No"}])
    items = manifest_of(form).items
    assert [item.id for item in items] == ["anna-mueller", "b-c-100", "anna-mueller-2", "x-1"]
    assert [item.prompt for item in items] == ["She smiles", "She smiles", "She smiles", "No"]


def test_an_id_that_is_taken_is_not_made_again() -> None:
    items = [{"id": "anna", "prompt": "one"}, {"image": "anna.jpg", "prompt": "two"}]
    assert [item.id for item in manifest_of(a_form(items=items)).items] == ["anna", "anna-2"]


def test_each_image_is_run_as_often_as_it_has_takes() -> None:
    items = [{"image": "anna.jpg", "prompt": "a"}, {"image": "https://example.com/2.jpg", "prompt": "b"}]
    manifest = FormManifest(a_form(takes=3, items=items))
    runs = parse(manifest.text).items
    assert len({item.id for item in runs}) == 6
    assert [item.id for item in runs[:3]] == ["anna-1", "anna-2", "anna-3"]
    assert [item.prompt for item in runs] == ["a"] * 3 + ["b"] * 3


def test_an_error_at_a_line_is_that_of_an_item() -> None:
    form = a_form(takes=2, params={"seconds": "5"}, items=[{"prompt": "a"}, {"prompt": "b"}])
    manifest = FormManifest(form)
    lines = manifest.text.decode().splitlines()
    found = {line: manifest.item_at(number) for number, line in enumerate(lines, 1)}
    assert [found[line] for line in lines] == [None] * (len(lines) - 4) + [0, 0, 1, 1]


def test_a_form_and_its_manifest_mean_the_same_in_both_directions() -> None:
    form = a_form(
        name="la-street",
        params={"seconds": "5"},
        budget="25.00",
        items=[{"id": "a", "image": "faces/1.jpg", "prompt": "She smiles", "params": {"ratio": "16:9"}}],
        more={"output": "s3://bucket/out/", "notify": "https://example.com/hook", "limits": {"deadline": "7200s"}},
    )
    assert form_of(manifest_of(form)) == form


def test_an_id_that_was_derived_from_the_content_is_derived_again() -> None:
    form = a_form()
    assert form_of(manifest_of(form)).items[0].id is None


def test_text_of_a_form_never_adds_keys_or_lines() -> None:
    hostile = "x\"\nnotify: https://evil.example/\n- {}: '\u2028#"
    form = a_form(name=hostile, params={hostile: hostile}, items=[{"prompt": hostile, "params": {}}])
    manifest = manifest_of(form)
    assert (manifest.notify, manifest.items[0].prompt, manifest.params) == (None, hostile.strip(), {hostile: hostile})


def test_other_keys_than_those_of_a_manifest_are_not_taken_over() -> None:
    assert b"evil" not in FormManifest(a_form(more={"evil: 1\nx": 1, "items_from": "evil.csv"})).text


@pytest.mark.parametrize(
    "fields",
    [{"prompt": "x" * 9000, "items": [{}] * 1000}, {"takes": 20, "items": [{"params": {"x": "y" * 900}}] * 1000}],
)
def test_a_form_that_means_too_long_a_manifest_is_refused_before_it_is_made(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest, match="longer"):
        FormManifest(a_form(**fields))


def test_the_longest_manifest_of_a_form_is_the_longest_that_can_be_sent() -> None:
    assert MAX_MANIFEST_BYTES == app.MAX_BODY_BYTES
