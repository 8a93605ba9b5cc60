"""The price of a run before it is bought."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline.wiro.model_price import PriceEstimate, estimate_price
from pipeline.wiro.model_schema import parse_model_schema


def tier(price: object, method: str = "cpr", inputs: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    return {"inputs": inputs or {}, "price": price, "priceMethod": method, **more}


def estimate(
    *tiers: dict[str, Any],
    params: dict[str, Any] | None = None,
    prompt: str | None = "p",
    images: int = 1,
    parameters: list[dict[str, Any]] | None = None,
    **fields: Any,
) -> PriceEstimate | None:
    described = [{"items": parameters or []}]
    tool = {"dynamicprice": json.dumps(tiers), "parameters": described, **fields}
    return estimate_price(parse_model_schema(tool, "a/b"), params or {}, prompt, images)


def usd(*args: Any, **options: Any) -> tuple[Decimal, Decimal]:
    price = estimate(*args, **options)
    assert price is not None
    return price.low_usd, price.high_usd


def exact(text: str) -> PriceEstimate:
    return PriceEstimate(Decimal(text), Decimal(text), "")


RESOLUTIONS = (
    tier(0.06, inputs={"resolution": "480p", "duration": "5"}),
    tier(0.13, inputs={"resolution": "720p", "duration": "5"}),
    tier(0.26, inputs={"resolution": "720p", "duration": "10"}),
)


def test_a_flat_price_is_exact() -> None:
    assert estimate(tier(0.09)) == exact("0.09")


def test_the_tier_of_the_parameters_applies() -> None:
    assert estimate(*RESOLUTIONS, params={"resolution": "720p", "duration": "10"}) == exact("0.26")


@pytest.mark.parametrize("duration", [5, 5.0, "5"])
def test_a_number_and_its_text_are_the_same_value(duration: object) -> None:
    assert estimate(*RESOLUTIONS, params={"resolution": "480p", "duration": duration}) == exact("0.06")


def test_a_missing_parameter_has_the_default_of_the_model() -> None:
    parameters: list[dict[str, Any]] = [{"id": "resolution", "default": "720p"}, {"id": "duration", "default": 5}]
    assert estimate(*RESOLUTIONS, parameters=parameters) == exact("0.13")
    assert estimate(*RESOLUTIONS, parameters=parameters, params={"duration": "10"}) == exact("0.26")


def test_without_a_default_the_price_is_a_range_that_names_the_parameter() -> None:
    price = estimate(*RESOLUTIONS, params={"resolution": "720p"})
    assert price is not None
    assert (price.low_usd, price.high_usd) == (Decimal("0.13"), Decimal("0.26"))
    assert "duration" in price.reason


def test_parameters_without_a_price_have_the_range_of_all_prices() -> None:
    price = estimate(*RESOLUTIONS, params={"resolution": "720P", "duration": "5"})
    assert price is not None
    assert (price.low_usd, price.high_usd) == (Decimal("0.06"), Decimal("0.26"))
    assert "matches" in price.reason


def test_a_price_for_these_parameters_precedes_a_general_one() -> None:
    tiers = (tier(0.5), tier(0.2, inputs={"mode": "fast"}))
    assert estimate(*tiers, params={"mode": "fast"}) == exact("0.2")
    assert estimate(*tiers, params={"mode": "slow"}) == exact("0.5")


@pytest.mark.parametrize(
    ("params", "images", "price"),
    [
        ({}, 1, "0.1"),
        ({"inputImage": ["https://x/1", "https://x/2"]}, 1, "0.2"),
        ({"inputImageUrl": "https://x/1, https://x/2,"}, 0, "0.2"),
        ({}, 2, "0.2"),
    ],
)
def test_a_price_can_depend_on_the_number_of_files(params: dict[str, Any], images: int, price: str) -> None:
    tiers = [tier(number / 10, inputs={"inputImage": f"QUANTITY:{number}"}) for number in (1, 2, 3)]
    assert estimate(*tiers, params=params, images=images) == exact(price)


def test_a_price_per_character_is_exact() -> None:
    assert estimate(tier("0.0001", "cp-promptlength"), prompt="four") == exact("0.0004")
    assert estimate(tier("0.0001", "cp-promptlength"), prompt=None, params={"prompt": "ab"}) == exact("0.0002")
    assert estimate(tier("0.0001", "cp-promptlength"), prompt=None) == exact("0")


@pytest.mark.parametrize(("params", "price"), [({}, "0.04"), ({"num_outputs": "4"}, "0.16"), ({"samples": 2}, "0.08")])
def test_a_price_per_output_needs_the_number_of_outputs(params: dict[str, Any], price: str) -> None:
    found = estimate(tier(0.04, "cpo"), params=params)
    assert found is not None
    assert (found.low_usd, found.high_usd) == (Decimal(price), Decimal(price))
    assert "each output" in found.reason


@pytest.mark.parametrize("method", ["cps", "cp-outputVideoLength"])
@pytest.mark.parametrize("duration", [6, "6", "6s", "6 seconds"])
def test_a_price_per_second_uses_the_duration(method: str, duration: object) -> None:
    found = estimate(tier(0.05, method), params={"duration": duration})
    assert found is not None
    assert (found.low_usd, found.high_usd) == (Decimal("0.30"), Decimal("0.30"))
    assert "each second" in found.reason


def test_a_price_per_second_without_a_duration_is_the_estimate_of_the_vendor_or_unknown() -> None:
    found = estimate(tier(0.05, "cps"), params={"duration": "auto"}, approximatelycost="0.7")
    assert found is not None
    assert (found.low_usd, "own estimate" in found.reason) == (Decimal("0.7"), True)
    assert estimate(tier(0.05, "cps")) is None


def test_a_price_per_megapixel_counts_pixels_and_input_images() -> None:
    pixels = tier(0.03, "cp-pixel", priceExtra=0.01, priceInput=0.002)
    assert estimate(pixels, params={"width": 1024, "height": "2048"}, images=0) == exact("0.04")
    assert usd(pixels, params={"width": 1024, "height": 1024}, images=2) == (Decimal("0.034"), Decimal("0.034"))
    assumed = estimate(pixels, images=0)
    assert assumed is not None
    assert (assumed.low_usd, "assumed" in assumed.reason) == (Decimal("0.03"), True)


@pytest.mark.parametrize("method", ["cpt", "cp-audiosecondslength", "cp-readoutput", "cp-new"])
def test_a_price_that_only_the_run_shows_is_the_estimate_of_the_vendor(method: str) -> None:
    found = estimate(tier(0.05, method), approximatelycost="0.02")
    assert found is not None
    assert (found.low_usd, found.high_usd, method in found.reason) == (Decimal("0.02"), Decimal("0.02"), True)
    assert estimate(tier(0.05, method)) is None


def test_an_extra_price_of_another_method_makes_the_price_inexact() -> None:
    found = estimate(tier(0.05, priceExtra=0.01))
    assert found is not None
    assert (found.low_usd, "extra price" in found.reason) == (Decimal("0.05"), True)


def test_a_model_without_tiers_has_the_estimate_of_the_vendor() -> None:
    found = estimate(approximatelycost="0.0117", cps="0.0006")
    assert found is not None
    assert (found.low_usd, found.high_usd) == (Decimal("0.0117"), Decimal("0.0117"))
    assert "running time" in found.reason


def test_without_any_price_there_is_no_estimate() -> None:
    assert estimate() is None
    assert estimate(cps="0.0006") is None
