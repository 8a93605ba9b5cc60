"""The models of the sandbox: what a Run must contain, and what it costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from unittest.mock import create_autospec

import pytest

from pipeline.sandbox.errors import Refusal
from pipeline.sandbox.forms import Form, FormFile
from pipeline.sandbox.media_cache import MediaCache
from pipeline.sandbox.models import MODELS, find_model
from pipeline.sandbox.pricing import run_cost
from pipeline.sandbox.run_request import RunRequest, read_run_request
from pipeline.sandbox.tasks import SourceImage

SUBJECT = "minimax/image-to-video-hailuo-01-subject"
TIERS = "acme/video-tiers"
FLAT = Decimal("0.09")
FILE = FormFile("x.jpg", "image/jpeg", b"x")
URL = "http://a/b.jpg"


def a_run_request(model: str = SUBJECT, /, *, multipart: bool = True, **fields: Any) -> RunRequest:
    media_cache = create_autospec(MediaCache, instance=True)
    media_cache.store.return_value = "hash"
    form = Form({name: value if isinstance(value, tuple) else (value,) for name, value in fields.items()}, multipart)
    return read_run_request(find_model(model, FLAT), form, "http://127.0.0.1:1", media_cache)


def a_tiered_run(**fields: Any) -> RunRequest:
    return a_run_request(TIERS, multipart=False, inputImage=URL, prompt="p", **{"style": "film", **fields})


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"inputImageFirst": FILE, "inputImageFirstUrl": ""}, r"parameter \[prompt\] required"),
        ({"prompt": " ", "inputImageFirst": FILE, "inputImageFirstUrl": ""}, r"parameter \[prompt\] required"),
        ({"prompt": "p", "inputImageFirst": FILE}, r"parameter \[inputImageFirstUrl\] required"),
        ({"prompt": "p", "inputImageFirstUrl": URL}, r"files \[inputImageFirst\] required"),
        ({"prompt": "p", "inputImageFirst": "", "inputImageFirstUrl": ""}, r"files \[inputImageFirst\] required"),
        ({"prompt": "p"}, r"files \[inputImageFirst\] required"),
        ({"prompt": "p", "inputImageFirst": FILE, "inputImageFirstUrl": URL}, "parameters are invalid"),
        ({"prompt": "p", "inputImageFirst": "", "inputImageFirstUrl": FILE}, r"files \[inputImageFirst\] required"),
    ],
)
def test_the_image_model_requires_a_prompt_and_exactly_one_image(form: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal, match=message) as refused:
        a_run_request(**form)
    assert refused.value.code == 0


@pytest.mark.parametrize(
    ("fields", "image"),
    [
        ({"inputImageFirst": FILE, "inputImageFirstUrl": ""}, SourceImage(sha256="hash")),
        ({"inputImageFirst": "", "inputImageFirstUrl": URL}, SourceImage(url=URL)),
        ({"inputImageFirst": URL}, SourceImage(url=URL)),
    ],
)
def test_the_image_is_a_file_or_a_url_in_either_field(fields: dict[str, Any], image: SourceImage) -> None:
    assert a_run_request(prompt="p", **fields).image == image


@pytest.mark.parametrize("name", ["inputImageFirst", "inputImageFirstUrl", "inputImage", "inputImageUrl"])
def test_json_needs_no_empty_twin_and_may_use_the_older_name(name: str) -> None:
    assert a_run_request(multipart=False, prompt="p", **{name: URL}).image == SourceImage(url=URL)


def test_a_multifileinput_takes_files_and_comma_separated_urls() -> None:
    run_request = a_run_request("acme/photo-album", inputImages=(FILE, FILE), inputImagesUrl="http://a/1,http://a/2")
    assert run_request.image == SourceImage(sha256="hash")
    with pytest.raises(Refusal, match=r"files \[inputImages\] required"):
        a_run_request("acme/photo-album", inputImages="", inputImagesUrl="")


def test_a_combinefileinput_takes_files_and_urls_in_the_field_itself() -> None:
    mixed = a_run_request("acme/outfit", prompt="p", inputImageClothes=(URL, FILE))
    listed = a_run_request("acme/outfit", multipart=False, prompt="p", inputImageClothes=[URL, URL])
    assert mixed.image == listed.image == SourceImage(url=URL)
    with pytest.raises(Refusal, match=r"files \[inputImageClothes\] required"):
        a_run_request("acme/outfit", prompt="p", inputImageClothesUrl=URL)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"style": ""}, r"Request parameter \[style\] required"),
        ({"strength": "strong"}, r"Request parameter \[strength\] must be integer or float"),
        ({"strength": "nan"}, r"Request parameter \[strength\] must be integer or float"),
        ({"strength": 1.5}, r"Request parameter \[strength\] must be between 0 and 1"),
        ({"seed": "0"}, r"Request parameter \[seed\] must be between 1 and 999999"),
        ({"resolution": "4k"}, "Request parameters are invalid"),
    ],
)
def test_parameters_are_checked_with_the_vendors_sentences(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        a_tiered_run(**fields)


def test_an_unknown_parameter_is_accepted() -> None:
    assert a_tiered_run(strenght=0.5).params["strenght"] == 0.5


def test_a_model_without_a_description_uses_the_first_image_of_the_form() -> None:
    for model in ("acme/animate", "acme/undescribed"):
        run_request = a_run_request(model, strength="5", images="http://a/1.jpg,http://a/2.jpg", callbackUrl="http://c")
        assert run_request.image == SourceImage(url="http://a/1.jpg")
        assert run_request.params == {"strength": "5", "images": "http://a/1.jpg,http://a/2.jpg"}
        assert run_request.callback_url == "http://c"


def test_a_model_is_found_without_case() -> None:
    assert find_model(SUBJECT.title(), FLAT).slug == SUBJECT


def test_a_model_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(Refusal, match="slug-owner-project-not-exist") as refused:
        find_model("acme/missing", FLAT)
    assert refused.value.code == 1


@pytest.mark.parametrize(
    ("model", "params", "cost"),
    [
        (SUBJECT, {}, "0.09"),
        ("acme/some-llm", {}, "0.09"),
        (TIERS, {}, "0.13"),
        (TIERS, {"resolution": "1080p", "duration": 10}, "0.58"),
        (TIERS, {"resolution": "1080p"}, "0.29"),
        ("acme/photo-album", {"inputImages": ["a", "b"]}, "0.08"),
        ("acme/photo-album", {"inputImages": "a", "inputImagesUrl": "b,c"}, "0.10"),
        ("acme/outfit", {"samples": "3"}, "0.12"),
        ("acme/slow-motion", {}, "0.08"),
        ("acme/undescribed", {}, "0.12"),
        ("acme/chat-llm", {"prompt": "x" * 200}, "0.002"),
    ],
)
def test_a_run_costs_the_price_of_its_parameters(model: str, params: dict[str, Any], cost: str) -> None:
    outputs = int(params.get("samples", 1))
    assert run_cost(find_model(model, FLAT), params, outputs=outputs, elapsed_s=4.0) == Decimal(cost)


def test_every_kind_of_parameter_and_price_is_described_once() -> None:
    documents = [find_model(slug, FLAT).as_json(quoted_categories=False) for slug in MODELS]
    items = [item for tool in documents for group in tool["parameters"] or () for item in group["items"]]
    kinds = {"text", "textarea", "select", "range", "fileinput", "multifileinput", "combinefileinput"}
    assert {item["type"] for item in items} == kinds
    assert any(tool["parameters"] is None for tool in documents)
    prices = "".join(tool["dynamicprice"] or "" for tool in documents)
    assert all(method in prices for method in ('"cpr"', '"cps"', '"cpo"', '"cp-promptlength"', "QUANTITY:1"))
