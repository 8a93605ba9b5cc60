"""What a run costs: the entry of `dynamicprice` that applies, and its method. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pipeline.sandbox.models import Model, Price

_QUANTITY = "QUANTITY:"


def run_cost(model: Model, params: Mapping[str, Any], *, outputs: int, elapsed_s: float) -> Decimal:
    """Return the cost in USD of a run that succeeds."""
    price = _price(model, params)
    seconds = Decimal(f"{elapsed_s:.4f}")
    if price is None:
        return seconds * (model.cps_usd or 0)
    match price.method:
        case "cps":
            return seconds * price.usd
        case "cpo":
            return max(outputs, 1) * price.usd
        case "cp-promptlength":
            return len(str(params.get("prompt") or "")) * price.usd
    return price.usd


def outputs_wanted(model: Model, params: Mapping[str, Any]) -> int:
    """Return the number of outputs of a run: its parameter `samples`, else 1."""
    return int(Decimal(_value(model, params, "samples"))) if model.parameter("samples") else 1


def _price(model: Model, params: Mapping[str, Any]) -> Price | None:
    """Return the entry whose inputs the parameters have; the last one if none applies; None without entries."""
    for price in model.prices:
        if all(_matches(model, params, name, value) for name, value in price.inputs.items()):
            return price
    return model.prices[-1] if model.prices else None


def _matches(model: Model, params: Mapping[str, Any], name: str, value: str) -> bool:
    if value.startswith(_QUANTITY):
        return len(files_in(params, name)) == int(value.removeprefix(_QUANTITY))
    return _value(model, params, name) == value


def _value(model: Model, params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    parameter = model.parameter(name)
    if value in (None, "") and parameter:
        value = parameter.default
    return "" if value is None else str(value)


def files_in(params: Mapping[str, Any], name: str) -> list[str]:
    """Return the files and URLs of a file parameter: in `name`, and in `{name}Url` with commas between."""
    own = params.get(name)
    entries = [str(entry) for entry in (own if isinstance(own, list) else [own]) if entry]
    return entries + [url for url in str(params.get(f"{name}Url") or "").split(",") if url.strip()]
