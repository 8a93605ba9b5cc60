"""The vendor's description of a model: parameters and image fields."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline.wiro.model_schema import ImageField, ModelSchema, Parameter, computing_time_s, parse_model_schema


def schema(*parameters: dict[str, Any], **fields: Any) -> ModelSchema:
    return parse_model_schema({"parameters": [{"title": "Input", "items": list(parameters)}], **fields}, "a/b")


def parameter(**fields: Any) -> Parameter:
    (parsed,) = schema({"id": "x", "type": "range", **fields}).parameters or ()
    return parsed


def test_a_parameter_has_all_that_the_vendor_states() -> None:
    assert parameter(label="Scale", required=True, default="2", min="-1.5", max=4, step="0.5") == Parameter(
        "x", "range", "Scale", True, "2", (), Decimal("-1.5"), Decimal(4), Decimal("0.5")
    )


def test_what_the_vendor_does_not_state_is_empty() -> None:
    empty = {"label": None, "required": None, "default": None, "options": None, "min": None, "max": "", "step": "any"}
    assert parameter(**empty) == Parameter("x", "range", "", False, None, (), None, None, None)


@pytest.mark.parametrize(("value", "required"), [(True, True), ("true", True), (1, True), ("0", False), (False, False)])
def test_required_is_written_in_many_ways(value: object, required: bool) -> None:
    assert parameter(required=value).required is required


@pytest.mark.parametrize(
    "options",
    [
        [{"label": "Six seconds", "value": "6"}, {"label": "Ten", "value": 10}, None],
        '[{"value": "6"}, {"value": "10"}]',
        ["6", 10],
        [{"label": "6"}, {"label": "10"}],
    ],
)
def test_options_are_the_values_that_may_be_sent(options: object) -> None:
    assert parameter(options=options).options == ("6", "10")


def test_groups_may_be_nested_and_are_no_parameters() -> None:
    groups = [{"id": "advanced", "items": [{"id": "seed", "type": "text"}, None]}, {"title": None, "items": None}, 7]
    for described in (groups, json.dumps(groups)):
        parsed = parse_model_schema({"parameters": described}, "a/b").parameters
        assert [each.id for each in parsed or ()] == ["seed"]


@pytest.mark.parametrize("described", [None, "", "[]", [], {}, [{"title": "x", "items": []}]])
def test_a_model_may_describe_no_parameters(described: object) -> None:
    assert parse_model_schema({"parameters": described}, "a/b").parameters is None


@pytest.mark.parametrize("kind", ["fileinput", "multifileinput", "combinefileinput"])
def test_the_image_field_has_the_type_of_its_parameter(kind: str) -> None:
    prompt = {"id": "prompt", "type": "textarea"}
    assert schema(prompt, {"id": "inputImage", "type": kind}).image_fields == (ImageField("inputImage", kind),)


def test_a_text_parameter_takes_the_url_of_an_image() -> None:
    assert schema({"id": "inputImageUrl", "type": "text"}).image_fields == (ImageField("inputImageUrl", "text"),)


def test_the_url_twin_of_a_file_parameter_is_no_field_of_its_own() -> None:
    twins = schema({"id": "inputImageUrl", "type": "text"}, {"id": "inputImage", "type": "fileinput"})
    assert twins.image_fields == (ImageField("inputImage", "fileinput"),)


def test_fields_named_after_an_image_come_first_and_fields_for_sound_are_none() -> None:
    fields = schema(
        {"id": "inputFile", "type": "fileinput"},
        {"id": "inputAudio", "type": "fileinput"},
        {"id": "driving", "type": "fileinput", "label": "Driving video"},
        {"id": "firstFrame", "type": "fileinput"},
        {"id": "websiteUrl", "type": "text"},
    ).image_fields
    assert [field.name for field in fields] == ["firstFrame", "inputFile"]


def test_prices_of_a_model_without_tiers_are_numbers_in_strings() -> None:
    parsed = schema(cps="0.000585000000", approximatelycost="0.0117", dynamicprice=None, title="A\nmodel")
    assert (parsed.cps_usd, parsed.approximate_usd, parsed.prices) == (Decimal("0.000585"), Decimal("0.0117"), ())
    assert (parsed.model, parsed.title) == ("a/b", "A model")
    assert schema(cps="0.000000", approximatelycost="0").approximate_usd is None


def test_the_price_of_every_run_is_flat_or_unknown() -> None:
    def price(text: object) -> Decimal | None:
        return schema(dynamicprice=text).per_run_usd

    assert price('[{"inputs":{},"price":0.09,"priceMethod":"cpr"}]') == Decimal("0.09")
    assert price([{"inputs": {}, "price": 0.09}]) == Decimal("0.09")
    assert price('[{"inputs":{"d":"6"},"price":0.09,"priceMethod":"cpr"}]') is None
    assert price('[{"inputs":{},"price":0.09,"priceMethod":"cps"}]') is None
    invalid: list[object] = [None, "", "[]", "{", "7", [], {}, '[{"inputs":{},"price":"free","priceMethod":"cpr"}]']
    for value in invalid:
        assert price(value) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10 seconds", 10),
        ("1-2 minutes", 120),
        ("2 to 3 minutes", 180),
        ("2 min 30 s", 150),
        ("about 45 sec", 45),
        ("1.5 min", 90),
        ("90", 90),
        (30, 30),
        ("~ 1 hour", 3600),
        ("", None),
        (None, None),
        ("fast", None),
        ("0 seconds", None),
        ({}, None),
        ("9" * 500, None),
    ],
)
def test_the_usual_time_of_a_run_is_written_in_many_ways(text: object, seconds: float | None) -> None:
    assert computing_time_s({"computingtime": text}) == seconds
