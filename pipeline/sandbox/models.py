"""The models of the sandbox: parameters and prices, as Tool/Detail and Tool/List describe them. Pure.

Each way to describe a model that the API doc lists is there once: an image in a `fileinput`, a `multifileinput` and a
`combinefileinput`, choices, ranges, prices in tiers, no description at all, answers in text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from pipeline.sandbox.errors import NOT_FOUND, Refusal

FILE_TYPES = frozenset({"fileinput", "multifileinput", "combinefileinput"})


@dataclass(frozen=True)
class Parameter:
    """One parameter. `aliases`: older names of the same file parameter, which clients still send."""

    id: str
    type: str
    label: str
    required: bool = False
    default: str | None = None
    options: tuple[str, ...] = ()
    min: Decimal | None = None
    max: Decimal | None = None
    step: Decimal | None = None
    aliases: tuple[str, ...] = ()

    @property
    def takes_files(self) -> bool:
        return self.type in FILE_TYPES

    def as_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"id": self.id, "type": self.type, "label": self.label, "required": self.required}
        document |= {"default": self.default, "placeholder": None, "note": None}
        if self.options:
            document["options"] = [{"label": option.title(), "value": option} for option in self.options]
        limits = {"min": self.min, "max": self.max, "step": self.step}
        return document | {name: float(limit) for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class Price:
    """An entry of `dynamicprice`: it applies to a run whose parameters have the values of `inputs`."""

    usd: Decimal
    method: str = "cpr"
    inputs: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"inputs": dict(self.inputs), "price": float(self.usd), "priceMethod": self.method}


@dataclass(frozen=True)
class Model:
    """A model. `parameters` None: not described. Without `prices`, a run costs elapsed seconds times `cps_usd`."""

    slug: str
    category: str
    parameters: tuple[Parameter, ...] | None = None
    prices: tuple[Price, ...] = ()
    cps_usd: Decimal | None = None
    approximate_usd: Decimal | None = None

    @property
    def answers_in_text(self) -> bool:
        return self.category == "llm"

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter with this name, or None."""
        return next((each for each in self.parameters or () if each.id == name), None)

    def as_json(self, *, quoted_categories: bool) -> dict[str, Any]:
        owner, _, name = self.slug.partition("/")
        prices = json.dumps([price.as_json() for price in self.prices]) if self.prices else None
        return {
            "id": str(list(MODELS).index(self.slug) + 1) if self.slug in MODELS else "0",
            "title": self.slug,
            "slugowner": owner,
            "slugproject": name,
            "cleanslugowner": owner,
            "cleanslugproject": name,
            "description": f"A model of the sandbox: {self.category}.",
            "categories": categories(self.category, quoted=quoted_categories),
            "tags": [],
            "computingtime": "10 seconds",
            "parameters": self._groups(),
            "dynamicprice": prices,
            "cps": f"{self.cps_usd:.12f}" if self.cps_usd is not None else None,
            "approximatelycost": f"{self.approximate_usd:.12f}" if self.approximate_usd is not None else None,
        }

    def _groups(self) -> list[dict[str, Any]] | None:
        if self.parameters is None:
            return None
        files = [each.as_json() for each in self.parameters if each.takes_files]
        rest = [each.as_json() for each in self.parameters if not each.takes_files]
        return [{"title": title, "items": items} for title, items in (("Input", files), (None, rest)) if items]


def categories(category: str, *, quoted: bool) -> list[str] | str:
    """Return `categories` as a list or, quoted, as text that is not JSON."""
    return f'["tool",{category},]' if quoted else ["tool", category]


def find_model(slug: str, run_usd: Decimal) -> Model:
    """Return a model by "owner/name", compared without case. Raises Refusal (1) if its name is `missing`.

    run_usd: price of a run of a model that has none of its own. A name that no model has is a model without a
    description: it answers in text if its name contains `llm` or `text`, else with a video.
    """
    name = slug.lower().partition("/")[2]
    if not name or name == "missing":
        raise Refusal(NOT_FOUND, "slug-owner-project-not-exist")
    category = "llm" if "llm" in name or "text" in name else "image-to-video"
    model = MODELS.get(slug.lower()) or Model(slug, category)
    has_price = model.prices or model.cps_usd is not None
    return model if has_price else replace(model, prices=(Price(run_usd),))


def _prompt(*, required: bool = True) -> Parameter:
    return Parameter("prompt", "textarea", "Prompt", required=required)


def _select(name: str, *options: str) -> Parameter:
    return Parameter(name, "select", name.title(), default=options[0], options=options)


def _range(name: str, low: str, high: str, step: str, default: str) -> Parameter:
    low_high_step = (Decimal(low), Decimal(high), Decimal(step))
    return Parameter(name, "range", name.title(), False, default, (), *low_high_step)


def _usd(price: str, method: str = "cpr", **inputs: str) -> Price:
    return Price(Decimal(price), method, inputs)


MODELS: dict[str, Model] = {
    model.slug: model
    for model in (
        Model(
            "minimax/image-to-video-hailuo-01-subject",
            "image-to-video",
            (
                Parameter(
                    "inputImageFirst", "fileinput", "Subject Reference Image", required=True, aliases=("inputImage",)
                ),
                _prompt(),
            ),
        ),
        Model(
            "acme/video-tiers",
            "image-to-video",
            (
                Parameter("inputImage", "fileinput", "Image", required=True),
                _prompt(),
                Parameter("style", "select", "Style", required=True, options=("film", "cartoon")),
                _select("resolution", "720p", "1080p"),
                _select("duration", "5", "10"),
                _range("strength", "0", "1", "0.1", "0.5"),
                _range("seed", "1", "999999", "1", "42"),
                Parameter("negativePrompt", "text", "Negative prompt"),
            ),
            (
                _usd("0.13", resolution="720p", duration="5"),
                _usd("0.26", resolution="720p", duration="10"),
                _usd("0.29", resolution="1080p", duration="5"),
                _usd("0.58", resolution="1080p", duration="10"),
            ),
        ),
        Model(
            "acme/photo-album",
            "image-to-video",
            (Parameter("inputImages", "multifileinput", "Images", required=True), _prompt(required=False)),
            (
                _usd("0.05", inputImages="QUANTITY:1"),
                _usd("0.08", inputImages="QUANTITY:2"),
                _usd("0.10", inputImages="QUANTITY:3"),
            ),
        ),
        Model(
            "acme/outfit",
            "image-to-video",
            (
                Parameter("inputImageClothes", "combinefileinput", "Person and clothes", required=True),
                _prompt(),
                _range("samples", "1", "4", "1", "1"),
            ),
            (_usd("0.04", "cpo"),),
        ),
        Model(
            "acme/slow-motion",
            "image-to-video",
            (
                Parameter("inputImage", "fileinput", "Image", required=True),
                _prompt(),
                _range("duration", "1", "30", "1", "5"),
            ),
            (_usd("0.02", "cps"),),
            approximate_usd=Decimal("0.10"),
        ),
        Model(
            "acme/undescribed", "image-to-video", None, cps_usd=Decimal("0.03"), approximate_usd=Decimal("0.12")
        ),
        Model(
            "acme/chat-llm",
            "llm",
            (_prompt(), _range("temperature", "0", "2", "0.1", "0.7")),
            (_usd("0.00001", "cp-promptlength"),),
        ),
    )
}  # fmt: skip
