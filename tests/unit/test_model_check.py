"""Manifests against the schema of their model: what is wrong, at its line and column."""

from __future__ import annotations

from typing import Any

import pytest
from support.manifests import HEAD
from support.model_schemas import IMAGE, MODEL, PROMPT, QUALITY, RATIO, SECONDS, a_schema

from pipeline.domain.model import Manifest
from pipeline.errors import InvalidManifest
from pipeline.manifest import parser as manifests
from pipeline.manifest.model_check import fit_to_schema, image_field_of
from pipeline.wiro.errors import NotFound
from pipeline.wiro.model_schema import ImageField, ModelSchema

WHOLE = a_schema(PROMPT, IMAGE, SECONDS, RATIO)
START = f"{HEAD}model: {MODEL}\n"


def parsed(text: str, schema: ModelSchema | None = WHOLE, rows: dict[str, bytes] | None = None) -> Manifest:
    return manifests.parse(
        text.encode(),
        file="m.yaml",
        read_rows=(rows or {}).__getitem__,
        local_files=None,
        schema_of=lambda model: schema,
    )


def problems(text: str, schema: ModelSchema | None = WHOLE, rows: dict[str, bytes] | None = None) -> list[str]:
    with pytest.raises(InvalidManifest) as caught:
        parsed(text, schema, rows)
    return [str(problem) for problem in caught.value.problems]


FOUR_ERRORS = f"""\
{START}items:
- {{image: https://e.com/1.jpg, prompt: a, params: {{secondss: 5}}}}
- {{image: https://e.com/1.jpg, prompt: a, params: {{seconds: 60}}}}
- {{image: https://e.com/1.jpg, prompt: a, params: {{ratio: 4:3}}}}
- {{image: https://e.com/1.jpg}}
"""


def test_errors_against_the_schema_stand_at_their_lines_all_at_once() -> None:
    assert problems(FOUR_ERRORS) == [
        "m.yaml:5:52: the model acme/animate has no parameter 'secondss': did you mean 'seconds'?",
        "m.yaml:6:61: seconds must be between 5 and 10, not 60",
        "m.yaml:7:59: ratio must be 16:9 or 9:16, not '4:3'",
        "m.yaml:8:3: prompt is missing: the model acme/animate requires it",
    ]


def test_errors_against_the_schema_stand_among_the_other_errors() -> None:
    text = (
        f"{START}params: {{SECONDS: 5, ratio: 1}}\nitems:\n- {{id: ../a, image: ftp://e.com/1.jpg, prompt: a}}\n- 1\n"
    )
    assert [message[:38] for message in problems(text)] == [
        "m.yaml:4:10: the model acme/animate ha",
        "m.yaml:4:29: ratio must be 16:9 or 9:1",
        "m.yaml:6:8: id must be up to 128 lette",
        "m.yaml:6:21: image must be an https://",
        "m.yaml:7:3: this must be a mapping (ke",
    ]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{promt: a}", "has no parameter 'promt': did you mean 'prompt'?"),
        ("{imge: a}", "has no parameter 'imge': did you mean 'image'?"),
        ("{Ratio: '16:9'}", "has no parameter 'Ratio': did you mean 'ratio'?"),
        ("{zzz: a}", "has no parameter 'zzz': its parameters are prompt, seconds, ratio or image"),
        ("{seconds: soon}", "seconds must be a number, not 'soon'"),
        ("{seconds: true}", "seconds must be a number, not True"),
        ("{seconds: [5]}", "seconds must be a number, not [5]"),
        ("{seconds: 4.9}", "seconds must be between 5 and 10, not 4.9"),
        ("{ratio: '16:09'}", "ratio must be 16:9 or 9:16, not '16:09': did you mean '16:9'?"),
        ("{ratio: ['16:9', x]}", "ratio must be 16:9 or 9:16, not 'x'"),
    ],
)
def test_the_message_states_what_is_valid(params: str, message: str) -> None:
    (only,) = problems(f"{START}params: {params}\nitems: [{{image: https://e.com/1.jpg, prompt: a}}]\n")
    assert only.startswith("m.yaml:4:") and message in only


@pytest.mark.parametrize(
    "params", ["{seconds: 5}", "{seconds: '7.5'}", "{seconds: }", "{ratio: '16:9'}", "{ratio: ''}"]
)
def test_what_the_schema_allows_is_accepted(params: str) -> None:
    parsed(f"{START}params: {params}\nitems: [{{image: https://e.com/1.jpg, prompt: a}}]\n")


@pytest.mark.parametrize(
    ("bound", "value", "message"),
    [({"min": 0}, -1, "seconds must be at least 0, not -1"), ({"max": 10}, 11, "seconds must be at most 10, not 11")],
)
def test_a_range_may_have_one_end(bound: dict[str, int], value: int, message: str) -> None:
    schema = a_schema(PROMPT, {"id": "seconds", "type": "range", **bound})
    assert problems(f"{START}items: [{{prompt: a, params: {{seconds: {value}}}}}]\n", schema)[0].endswith(message)


IGNORE_PROMT = "Delete the column, or pass it over: `dailies submit … --ignore-columns promt`"


def test_rows_have_their_own_positions_and_a_column_is_reported_once() -> None:
    rows = b"id,image,promt,seconds\na,https://e.com/1.jpg,x,5\nb,https://e.com/2.jpg,y,90\n"
    assert problems(f"{START}items_from: rows.csv\n", WHOLE, {"rows.csv": rows}) == [
        "rows.csv:1:1: prompt is missing: the model acme/animate requires it",
        "rows.csv:1:10: the model acme/animate has no parameter 'promt': did you mean 'prompt'? " + IGNORE_PROMT,
        "rows.csv:3:1: seconds must be between 5 and 10, not '90'",
    ]
    lines = (
        b'{"image": "https://e.com/1.jpg", "prompt": "a"}\n{"image": "https://e.com/1.jpg", "prompt": "a", "x": 1}\n'
    )
    (only,) = problems(f"{START}items_from: rows.jsonl\n", WHOLE, {"rows.jsonl": lines})
    assert only.startswith("rows.jsonl:2:49: the model acme/animate has no parameter 'x'")


def test_a_mistyped_header_is_an_error_that_names_the_right_one() -> None:
    rows = {"typo.csv": b"id,image,promt\na,https://example.com/1.jpg,She smiles\n"}
    assert problems(f"{START}items_from: typo.csv\n", WHOLE, rows)[1] == (
        "typo.csv:1:10: the model acme/animate has no parameter 'promt': did you mean 'prompt'? " + IGNORE_PROMT
    )


def test_an_empty_cell_of_a_required_column_is_missing_in_its_row() -> None:
    rows = {"rows.csv": b"prompt,quality\na,high\nb,\n"}
    assert problems(f"{START}items_from: rows.csv\n", a_schema(PROMPT, QUALITY), rows) == [
        "rows.csv:3:1: quality is missing: the model acme/animate requires it"
    ]


def test_required_parameters_may_be_in_the_head_or_have_a_default() -> None:
    schema = a_schema(PROMPT, QUALITY)
    item = "items:\n- {prompt: a, params: {other: 1}}\n"
    assert [message[:11] for message in problems(START + item, schema)] == ["m.yaml:5:23", "m.yaml:5:24"]
    parsed(f"{START}params: {{quality: high}}\nitems: [{{prompt: a}}]\n", schema)
    parsed(f"{START}items: [{{prompt: a}}]\n", a_schema(PROMPT, {**QUALITY, "default": "high"}))
    parsed(
        f"{START}items: [{{prompt: a}}]\n", a_schema(PROMPT, {"id": "callbackUrl", "type": "text", "required": True})
    )
    with pytest.raises(InvalidManifest):
        parsed(f"{START}items: [{{image: https://e.com/1.jpg}}]\n", a_schema({**PROMPT, "default": "A cat"}, IMAGE))


def test_a_matrix_is_checked_once() -> None:
    matrix = "matrix:\n  images: [https://e.com/1.jpg, https://e.com/2.jpg]\n  prompts: [a, b]\n"
    parsed(START + matrix)
    assert problems(START + matrix, a_schema(QUALITY)) == [
        "m.yaml:4:1: quality is missing: the model acme/animate requires it",
        "m.yaml:5:3: the model acme/animate takes no image",
        "m.yaml:6:3: the model acme/animate takes no prompt",
    ]


def test_a_prompt_or_an_image_that_the_model_does_not_take_is_an_error() -> None:
    assert problems(f"{START}items:\n- {{image: https://e.com/1.jpg,\n   prompt: a}}\n", a_schema(SECONDS)) == [
        "m.yaml:5:4: the model acme/animate takes no image",
        "m.yaml:6:4: the model acme/animate takes no prompt",
    ]


def test_other_files_are_params_with_their_urls() -> None:
    schema = a_schema(PROMPT, IMAGE, {"id": "inputVoice", "type": "fileinput", "required": True})
    item = "items: [{image: https://e.com/1.jpg, prompt: a}]\n"
    parsed(f"{START}params: {{inputVoiceUrl: https://e.com/1.mp3}}\n{item}", schema)
    assert problems(START + item, schema)[0].endswith("inputVoice is missing: the model acme/animate requires it")


def test_the_schemas_first_file_parameter_takes_the_image_unless_image_field_names_another() -> None:
    last = {"id": "inputImageLast", "type": "combinefileinput"}
    link = {"id": "imageUrl", "type": "text"}
    schema = a_schema(PROMPT, link, {**IMAGE, "type": "multifileinput"}, last)
    assert image_field_of(None, schema) == ImageField("inputImage", "multifileinput")
    assert image_field_of("inputImageLast", schema) == ImageField("inputImageLast", "combinefileinput")
    assert image_field_of("imageUrl", schema) == ImageField("imageUrl", "text")
    assert image_field_of("other", schema) is None
    for unknown in (None, a_schema()):
        assert image_field_of(None, unknown) == ImageField("inputImageFirst", "fileinput")
        assert image_field_of("other", unknown) == ImageField("other", "fileinput")


def test_an_image_field_that_the_model_lacks_is_an_error_that_lists_the_candidates() -> None:
    schema = a_schema(PROMPT, IMAGE, {"id": "inputImageLast", "type": "fileinput"})
    text = f"{START}image_field: inputImageFirst\nitems: [{{image: https://e.com/1.jpg, prompt: a}}]\n"
    assert problems(text, schema)[0] == (
        "m.yaml:4:14: image_field must be inputImage or inputImageLast: "
        "the model acme/animate has no field 'inputImageFirst' for an image"
    )


def test_the_image_is_written_as_image_whatever_its_field_is_called() -> None:
    text = (
        f"{START}params: {{inputImageUrl: https://e.com/1.jpg}}\nitems: [{{image: https://e.com/1.jpg, prompt: a}}]\n"
    )
    assert problems(text) == [
        "m.yaml:4:10: params.inputImageUrl cannot be a param: write the image as `image:` of the item"
    ]


def test_text_becomes_a_number_where_the_schema_has_range() -> None:
    rows = {
        "rows.csv": b"prompt,image,seconds,ratio\nx,https://e.com/1.jpg, 7.5 ,16:9\ny,https://e.com/1.jpg,05,9:16\n"
    }
    manifest = parsed(f"{START}params: {{seconds: '6'}}\nitems_from: rows.csv\n", WHOLE, rows)
    ids = [item.id for item in manifest.items]
    fitted = fit_to_schema(manifest, WHOLE)
    assert fitted.params == {"seconds": 6}
    assert [item.params for item in fitted.items] == [
        {"seconds": 7.5, "ratio": "16:9"},
        {"seconds": 5, "ratio": "9:16"},
    ]
    assert [item.id for item in fitted.items] == ids
    assert fitted.image_field == "inputImage"


def test_the_model_is_posted_as_the_vendor_writes_it() -> None:
    manifest = parsed(f"{HEAD}model: ACME/Animate\nitems: [{{image: https://e.com/1.jpg, prompt: a}}]\n")
    assert fit_to_schema(manifest, WHOLE).model == MODEL
    assert fit_to_schema(manifest, None).model == "ACME/Animate"


def test_without_a_schema_or_its_parameters_nothing_is_checked() -> None:
    for schema in (None, a_schema()):
        assert parsed(f"{START}items: [{{prompt: a, params: {{x: 1}}}}]\n", schema).items[0].params == {"x": 1}


def test_a_model_that_does_not_exist_is_an_error_at_its_line() -> None:
    def no_model(model: str) -> ModelSchema | None:
        raise NotFound("Tool not found.")

    with pytest.raises(InvalidManifest) as caught:
        manifests.parse(
            f"{START}items: [{{prompt: a}}]\n".encode(),
            file="m.yaml",
            read_rows=lambda reference: b"",
            local_files=None,
            schema_of=no_model,
        )
    assert [str(problem)[:26] for problem in caught.value.problems] == ["m.yaml:3:8: model 'acme/an"]


def test_no_request_is_sent_for_what_is_no_model() -> None:
    def never(model: str) -> Any:
        raise AssertionError(model)

    with pytest.raises(InvalidManifest, match="model must be owner/model"):
        manifests.parse(
            f"{HEAD}model: a b\nitems: [{{prompt: a}}]\n".encode(),
            file="m.yaml",
            read_rows=lambda reference: b"",
            local_files=None,
            schema_of=never,
        )


def test_a_thousand_wrong_items_are_not_all_listed() -> None:
    items = "- {image: https://e.com/1.jpg, prompt: a, params: {seconds: 1}}\n" * 2000
    found = problems(f"{START}items:\n{items}")
    assert len(found) == 1001 and found[-1].endswith("there are more problems than the first 1,000")
