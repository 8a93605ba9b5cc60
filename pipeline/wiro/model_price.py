"""The price of a run, from the price tiers of its model. Pure.

Billing methods (API doc): per run, per output, per second, per character of the prompt and per megapixel can be
computed before the run. The others depend on its result: the vendor's own estimate stands for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from pipeline.wiro.model_schema import PER_RUN, ModelSchema, PriceTier
from pipeline.wiro.values import to_number, to_param_text

_PER_PIXEL = "cp-pixel"
_MEGAPIXEL = 1024 * 1024
_QUANTITY = "QUANTITY:"
_SECONDS = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(?:s|secs?|seconds?)?\s*", re.I)
_DURATION_NAMES = frozenset({"duration", "durationseconds", "seconds", "videoduration", "videolength"})
_OUTPUT_COUNT_NAMES = frozenset(
    {
        *("numoutputs", "numimages", "numsamples", "numvideos", "numberofoutputs", "numberofimages", "numberofsamples"),
        *("numberofvideos", "outputcount", "imagecount", "batchsize", "samples", "outputs", "n"),
    }
)
"""Names of parameters in lower case without '_' and '-'. The vendor's models have no common name for either."""


@dataclass(frozen=True)
class PriceEstimate:
    """The price of a run in USD. `reason`: why it is not exact, '' if it is."""

    low_usd: Decimal
    high_usd: Decimal
    reason: str


@dataclass(frozen=True)
class _Inputs:
    """What a run is given. `values`: its parameters, with the defaults of the model for those that are missing."""

    schema: ModelSchema
    values: Mapping[str, Any]
    prompt: str
    images: int


def estimate_price(
    schema: ModelSchema, params: Mapping[str, Any], prompt: str | None, images: int
) -> PriceEstimate | None:
    """Return the price of a run with `params`, `prompt` and a number of `images`. None: no price can be known."""
    defaults = {parameter.id: parameter.default for parameter in schema.parameters or ()}
    values = {**defaults, **params, **({} if prompt is None else {"prompt": prompt})}
    given = {name: value for name, value in values.items() if value is not None}
    inputs = _Inputs(schema, given, to_param_text(given.get("prompt")), images)
    if not schema.prices:
        return _approximate(inputs, "The vendor charges the running time.")
    tiers, reason = _candidates(inputs)
    estimates = [estimate for tier in tiers if (estimate := _tier_price(tier, inputs)) is not None]
    if not estimates:
        return None
    return PriceEstimate(
        min(estimate.low_usd for estimate in estimates),
        max(estimate.high_usd for estimate in estimates),
        " ".join(dict.fromkeys(text for text in (reason, *(estimate.reason for estimate in estimates)) if text)),
    )


def _candidates(inputs: _Inputs) -> tuple[Sequence[PriceTier], str]:
    """Return the tiers that may apply to the run, and why there are several."""
    tiers = inputs.schema.prices
    possible = [(tier, missing) for tier in tiers if (missing := _missing_inputs(tier, inputs)) is not None]
    if not possible:
        return tiers, "No price of the model matches these parameters."
    if missing := sorted({name for _, names in possible for name in names}):
        reason = f"The price depends on {', '.join(missing)}: not set, and the model states no default."
        return [tier for tier, _ in possible], reason
    # A tier for these very parameters precedes a general one.
    most = max(len(tier.inputs) for tier, _ in possible)
    return [tier for tier, _ in possible if len(tier.inputs) == most], ""


def _missing_inputs(tier: PriceTier, inputs: _Inputs) -> list[str] | None:
    """Return the inputs of a tier that the run does not set; None if another input does not match."""
    missing = []
    for name, expected in tier.inputs.items():
        wanted = to_param_text(expected)
        if wanted.startswith(_QUANTITY):
            if wanted.removeprefix(_QUANTITY).strip() != str(_file_count(name, inputs)):
                return None
        elif name not in inputs.values:
            missing.append(name)
        elif to_param_text(inputs.values[name]) != wanted:
            return None
    return missing


def _file_count(name: str, inputs: _Inputs) -> int:
    value = inputs.values.get(name) or inputs.values.get(f"{name}Url")
    if isinstance(value, list):
        return len(value)
    return len([part for part in value.split(",") if part.strip()]) if isinstance(value, str) else inputs.images


def _tier_price(tier: PriceTier, inputs: _Inputs) -> PriceEstimate | None:
    price = _METHODS.get(tier.method, _unknown_method)(tier, inputs)
    if price is None or tier.method == _PER_PIXEL or not (tier.extra or tier.per_input):
        return price
    reason = f"{price.reason} The vendor names an extra price without its condition.".strip()
    return PriceEstimate(price.low_usd, price.high_usd, reason)


def _per_run(tier: PriceTier, inputs: _Inputs) -> PriceEstimate:
    return _exact(tier.usd)


def _per_output(tier: PriceTier, inputs: _Inputs) -> PriceEstimate:
    name, count = _number(inputs, _OUTPUT_COUNT_NAMES)
    if count is None:
        return PriceEstimate(tier.usd, tier.usd, "The vendor charges each output: one is assumed.")
    # Without an output, the price is charged once.
    usd = tier.usd * max(count, Decimal(1))
    return PriceEstimate(usd, usd, f"The vendor charges each output: {name} is {count}.")


def _per_second(tier: PriceTier, inputs: _Inputs) -> PriceEstimate | None:
    name, seconds = _number(inputs, _DURATION_NAMES)
    if seconds is None:
        return _approximate(inputs, "The vendor charges each second, and no parameter sets the duration.")
    usd = tier.usd * seconds
    return PriceEstimate(usd, usd, f"The vendor charges each second: {name} is {seconds}.")


def _per_character(tier: PriceTier, inputs: _Inputs) -> PriceEstimate:
    return _exact(tier.usd * len(inputs.prompt))


def _per_megapixel(tier: PriceTier, inputs: _Inputs) -> PriceEstimate:
    width, height = (to_number(inputs.values.get(side)) for side in ("width", "height"))
    reason = "The vendor charges each megapixel"
    megapixels = Decimal(1)
    if width and height:
        megapixels = (width * height / _MEGAPIXEL).to_integral_value(ROUND_CEILING)
        reason += f": {megapixels} of the output."
    else:
        reason += ": one of the output is assumed."
    usd = tier.usd + (tier.extra or 0) * (megapixels - 1) + (tier.per_input or 0) * inputs.images
    is_exact = width and height and not (tier.per_input and inputs.images)
    return PriceEstimate(usd, usd, "" if is_exact else reason)


def _unknown_method(tier: PriceTier, inputs: _Inputs) -> PriceEstimate | None:
    return _approximate(inputs, f"The vendor charges by {tier.method}, which only the run shows.")


def _approximate(inputs: _Inputs, reason: str) -> PriceEstimate | None:
    usd = inputs.schema.approximate_usd
    return None if usd is None else PriceEstimate(usd, usd, f"{reason} This is its own estimate.")


def _exact(usd: Decimal) -> PriceEstimate:
    return PriceEstimate(usd, usd, "")


def _number(inputs: _Inputs, names: frozenset[str]) -> tuple[str, Decimal | None]:
    """Return the first parameter with one of `names` (without case, '_' and '-') and its number, e.g. of "5 s"."""
    for name, value in inputs.values.items():
        if re.sub(r"[_-]", "", name).lower() in names and (match := _SECONDS.fullmatch(to_param_text(value))):
            return name, Decimal(match[1])
    return "", None


_METHODS: Mapping[str, Callable[[PriceTier, _Inputs], PriceEstimate | None]] = {
    PER_RUN: _per_run,
    "cpo": _per_output,
    "cps": _per_second,
    "cp-outputvideolength": _per_second,
    "cp-promptlength": _per_character,
    _PER_PIXEL: _per_megapixel,
}
