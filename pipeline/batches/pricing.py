"""The price of a run."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pipeline.errors import DailiesError
from pipeline.wiro.client import Wiro


@dataclass(frozen=True)
class RunPrice:
    """The price of one run of a model. `usd` is None if it is unknown; `error` is the failed request, if any."""

    usd: Decimal | None
    error: str | None = None


def price_of_run(wiro: Wiro, model: str) -> RunPrice:
    """Return the vendor's price of one run of `model`. A failed request does not raise."""
    try:
        return RunPrice(wiro.model_schema(model).per_run_usd)
    except DailiesError as error:
        return RunPrice(None, str(error))
