"""Models as Tool/Detail describes them: parameters, image fields and prices. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.wiro.errors import printable_message
from pipeline.wiro.values import parse_embedded_json, to_id, to_number, to_param_text, to_signed_number, to_text

FILE_KINDS = ("fileinput", "multifileinput", "combinefileinput")
URL_KIND = "text"
PER_RUN = "cpr"
_MAX_GROUP_DEPTH = 4
_MAX_OPTIONS = 1000
_MAX_TIME_CHARS = 60
_IMAGE = re.compile(r"image|img|photo|picture|portrait|face|frame", re.I)
_NO_IMAGE = re.compile(r"audio|video|voice|speech|sound|music|document|dataset", re.I)
_URL = re.compile(r"ur[li]$", re.I)
_TIME_PART = re.compile(
    r"(?<![0-9.])([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(h|hours?|hrs?|m|min(?:ute)?s?|s|sec(?:ond)?s?)?\b", re.I
)
_UNIT_S = {"h": 3600, "m": 60, "s": 1}
_RANGE = re.compile(r"[0-9.]+\s*(?:-|–|to)\s*(?=[0-9])", re.I)


@dataclass(frozen=True)
class ImageField:
    """A field of a run that takes an image. `kind`: one of FILE_KINDS, or URL_KIND if it takes a URL as it is."""

    name: str
    kind: str


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model. `kind` is the vendor's type. None and () stand for what the vendor does not state."""

    id: str
    kind: str
    label: str
    required: bool
    default: Any
    options: tuple[str, ...]
    min: Decimal | None
    max: Decimal | None
    step: Decimal | None


@dataclass(frozen=True)
class PriceTier:
    """A price, in USD, of runs whose parameters have the values `inputs`. `method`: what the price is for."""

    inputs: Mapping[str, Any]
    usd: Decimal
    method: str
    extra: Decimal | None = None
    """Price of each further unit: with `cp-pixel` each further megapixel."""
    per_input: Decimal | None = None
    """Price of each input file: with `cp-pixel` each input image."""


@dataclass(frozen=True)
class ModelSchema:
    """A model ("owner/name"), its parameters and its prices. `parameters` None: the vendor does not describe them."""

    model: str
    title: str
    parameters: tuple[Parameter, ...] | None
    prices: tuple[PriceTier, ...]
    cps_usd: Decimal | None
    """Price of a second of processing, for a model without price tiers."""
    approximate_usd: Decimal | None
    """The vendor's own estimate of a run."""

    @property
    def image_fields(self) -> tuple[ImageField, ...]:
        """The fields that can take an image: those named after an image first, files before URLs."""
        parameters = self.parameters or ()
        twins = {f"{parameter.id}Url".lower() for parameter in parameters if parameter.kind in FILE_KINDS}
        files = [parameter for parameter in parameters if parameter.kind in FILE_KINDS and _may_take_image(parameter)]
        files.sort(key=lambda parameter: not _IMAGE.search(parameter.id))
        urls = [
            parameter for parameter in parameters if _takes_image_url(parameter) and parameter.id.lower() not in twins
        ]
        fields = [ImageField(parameter.id, parameter.kind) for parameter in files]
        return (*fields, *(ImageField(parameter.id, URL_KIND) for parameter in urls))

    @property
    def per_run_usd(self) -> Decimal | None:
        """Price of a run with any parameters, None if it depends on them or is unknown."""
        if any(tier.inputs or tier.method != PER_RUN for tier in self.prices):
            return None
        return max((tier.usd for tier in self.prices), default=None)


def parse_model_schema(tool: Mapping[str, Any], model: str) -> ModelSchema:
    """Return the description of `model` in the vendor's object `tool`."""
    return ModelSchema(
        model=model,
        title=printable_message(to_text(tool.get("title"))),
        parameters=tuple(_parameters(tool.get("parameters"))) or None,
        prices=tuple(_price_tiers(tool.get("dynamicprice"))),
        cps_usd=to_number(tool.get("cps")) or None,
        approximate_usd=to_number(tool.get("approximatelycost")) or None,
    )


def computing_time_s(tool: Mapping[str, Any]) -> float | None:
    """Return how long a run takes by the vendor's own words, e.g. `10 seconds` or `1-2 minutes`; None without them.

    Of a range the longer time counts, and a number without a unit is in seconds.
    """
    text = _RANGE.sub("", to_text(tool.get("computingtime")).strip()[:_MAX_TIME_CHARS])
    parts = _TIME_PART.findall(text)
    return sum(float(number) * _UNIT_S[(unit or "s")[0].lower()] for number, unit in parts) or None


def _parameters(value: object, depth: int = 0) -> Iterator[Parameter]:
    """Yield each parameter. The vendor nests parameters in groups."""
    for fields in _list(value) if depth < _MAX_GROUP_DEPTH else ():
        if not isinstance(fields, Mapping):
            continue
        if "items" in fields:
            yield from _parameters(fields["items"], depth + 1)
        elif name := to_id(fields.get("id")):
            yield _parameter(name, fields)


def _parameter(name: str, fields: Mapping[str, Any]) -> Parameter:
    return Parameter(
        id=name,
        kind=to_text(fields.get("type")).strip().lower(),
        label=printable_message(to_text(fields.get("label"))),
        required=to_text(fields.get("required")).strip().lower() in ("true", "1"),
        default=fields.get("default"),
        options=tuple(_options(fields.get("options"))),
        min=to_signed_number(fields.get("min")),
        max=to_signed_number(fields.get("max")),
        step=to_number(fields.get("step")) or None,
    )


def _options(value: object) -> Iterator[str]:
    for option in _list(value)[:_MAX_OPTIONS]:
        chosen = option.get("value", option.get("label")) if isinstance(option, Mapping) else option
        if chosen is not None:
            yield to_param_text(chosen)


def _price_tiers(value: object) -> Iterator[PriceTier]:
    for entry in _list(value):
        if not isinstance(entry, Mapping) or (usd := to_number(entry.get("price"))) is None:
            continue
        inputs = parse_embedded_json(entry.get("inputs"))
        yield PriceTier(
            inputs=inputs if isinstance(inputs, Mapping) else {},
            usd=usd,
            method=to_text(entry.get("priceMethod")).strip().lower() or PER_RUN,
            extra=to_number(entry.get("priceExtra")) or None,
            per_input=to_number(entry.get("priceInput")) or None,
        )


def _list(value: object) -> list[Any]:
    value = parse_embedded_json(value)
    return value if isinstance(value, list) else []


def _may_take_image(parameter: Parameter) -> bool:
    return bool(_IMAGE.search(parameter.id)) or not _NO_IMAGE.search(f"{parameter.id} {parameter.label}")


def _takes_image_url(parameter: Parameter) -> bool:
    return parameter.kind in ("text", "textarea", "url") and bool(
        _IMAGE.search(parameter.id) and _URL.search(parameter.id)
    )
