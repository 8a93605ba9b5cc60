"""Models as Tool/Detail describes them: price and parameters. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.wiro.errors import NoResponse, printable_message
from pipeline.wiro.values import parse_embedded_json, to_id, to_number, to_text

_NO_CONDITIONS: tuple[object, ...] = ({}, [], None, "")
_PER_RUN = "cpr"
_MAX_GROUP_DEPTH = 4


@dataclass(frozen=True)
class ModelSchema:
    """A model, its price and its parameters. `image_fields`: the parameters that take a file."""

    model: str
    title: str
    per_run_usd: Decimal | None
    """Price of a run with any parameters, None if the price depends on them or is unknown."""
    parameters: tuple[str, ...]
    image_fields: tuple[str, ...]


def parse_model_schema(document: Mapping[str, Any], model: str) -> ModelSchema:
    """Return the description of `model`. Raises NoResponse if the response has none."""
    tools = document.get("tool")
    fields = tools[0] if isinstance(tools, list) and tools else tools
    if not isinstance(fields, Mapping):
        raise NoResponse("The vendor's response has no tool.")
    parameters = list(_parameters(fields.get("parameters")))
    return ModelSchema(
        model=model,
        title=printable_message(to_text(fields.get("title"))),
        per_run_usd=_price_per_run(fields.get("dynamicprice")),
        parameters=tuple(name for name, _ in parameters),
        image_fields=tuple(name for name, kind in parameters if "fileinput" in kind),
    )


def _parameters(value: object, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield (name, type) of each parameter. The vendor nests parameters in groups."""
    value = parse_embedded_json(value)
    for fields in value if isinstance(value, list) and depth < _MAX_GROUP_DEPTH else ():
        if not isinstance(fields, Mapping):
            continue
        if name := to_id(fields.get("id")):
            yield name, to_text(fields.get("type")).lower()
        yield from _parameters(fields.get("items"), depth + 1)


def _price_per_run(value: object) -> Decimal | None:
    """Return the price if every entry is per run and without conditions; the highest if there are several."""
    value = parse_embedded_json(value)
    entries = [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
    if any(entry.get("priceMethod") != _PER_RUN or entry.get("inputs") not in _NO_CONDITIONS for entry in entries):
        return None
    prices = [price for entry in entries if (price := to_number(entry.get("price"))) is not None]
    return max(prices, default=None)
