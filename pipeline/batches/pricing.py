"""What the runs of a batch cost, by the prices that the vendor states."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

import structlog

from pipeline.batches.model_catalog import ModelCatalog, ModelLookup
from pipeline.domain.formatting import dollars, pluralize
from pipeline.domain.model import Manifest
from pipeline.errors import BatchAboveCeiling
from pipeline.ledger.records import BatchConfig
from pipeline.manifest.model_check import fit_to_schema
from pipeline.settings import Settings
from pipeline.wiro.errors import NotFound
from pipeline.wiro.model_price import PriceEstimate, estimate_price
from pipeline.wiro.model_schema import ModelSchema

_NO_PRICE = "the vendor states no price that can be known before a run"
_MAX_REASONS = 3

log = structlog.get_logger()


@dataclass(frozen=True)
class BatchEstimate:
    """The cost of one run of each item. `items`: the price of each, None if it is not known, in manifest order.

    `unknown_reason`: why prices are not known, '' if they are. `reused`: the positions of items whose outputs are
    reused: they cost nothing, and no sum contains them. `unidentified`: images that were not looked at, so their items
    count as bought.
    """

    items: tuple[PriceEstimate | None, ...]
    unknown_reason: str
    reused: frozenset[int] = frozenset()
    unidentified: int = 0

    @classmethod
    def of(cls, manifest: Manifest, models: ModelCatalog) -> BatchEstimate:
        """Return what a batch costs. A failed request to the vendor does not raise."""
        try:
            found = models.lookup(manifest.model)
        except NotFound as error:
            found = ModelLookup(None, str(error))
        prices = tuple(item_prices(fit_to_schema(manifest, found.schema), found.schema))
        unknown_reason = (_NO_PRICE if found.schema else found.reason) if None in prices else ""
        return cls(prices, unknown_reason)

    @property
    def runs(self) -> tuple[PriceEstimate | None, ...]:
        """The price of each run that is bought."""
        return tuple(price for position, price in enumerate(self.items) if position not in self.reused)

    @property
    def low_usd(self) -> Decimal | None:
        """The least sum of the known prices, None if there are none."""
        known = [price.low_usd for price in self.runs if price]
        return sum(known, Decimal(0)) if known or not self.runs else None

    @property
    def high_usd(self) -> Decimal | None:
        """The highest sum of the known prices, None if there are none."""
        known = [price.high_usd for price in self.runs if price]
        return sum(known, Decimal(0)) if known or not self.runs else None

    @property
    def per_run_usd(self) -> Decimal | None:
        """The price of each run, None if they differ or are not exact."""
        prices = {(price.low_usd, price.high_usd) if price else (None, None) for price in self.runs}
        low, high = prices.pop() if prices else (None, None)
        return high if low == high and not prices else None

    @property
    def saved_usd(self) -> Decimal:
        """What the reused items would cost at most, as far as their prices are known."""
        return sum((price.high_usd for n in self.reused if (price := self.items[n])), Decimal(0))

    @property
    def reason(self) -> str:
        """Why the sum is not exact, or not known; '' if it is."""
        reasons = dict.fromkeys(price.reason for price in self.runs if price)
        unknown = self.unknown_reason if None in self.runs else ""
        parts = (self._unidentified, *reasons, unknown)
        return "; ".join([part.rstrip(".") for part in parts if part][:_MAX_REASONS])

    def __str__(self) -> str:
        """Describe the cost as a sentence without its full stop."""
        low, high, per_run, unknown = self.low_usd, self.high_usd, self.per_run_usd, self.runs.count(None)
        if low is None or high is None:
            return f"The cost is unknown: {self.reason}{self._reuse}"
        cost = dollars(high) if low == high else f"{dollars(low)} to {dollars(high)}"
        cost += f", at {dollars(per_run)} per run" if per_run is not None else ""
        cost += f", and {pluralize(unknown, 'item')} of unknown price" if unknown else ""
        return f"Estimated cost: {cost}{f' ({self.reason})' if self.reason else ''}{self._reuse}"

    @property
    def _unidentified(self) -> str:
        if not self.unidentified:
            return ""
        were, their = ("was", "its") if self.unidentified == 1 else ("were", "their")
        return f"{pluralize(self.unidentified, 'image')} on S3 {were} not looked at, so {their} items count as bought"

    @property
    def _reuse(self) -> str:
        if not self.reused:
            return ""
        saved = f", which saves {dollars(self.saved_usd)}" if self.saved_usd else ""
        are = "is" if len(self.reused) == 1 else "are"
        return f". {len(self.reused):,} of {pluralize(len(self.items), 'item')} {are} reused{saved}"


@dataclass(frozen=True)
class Ceiling:
    """The most that a batch may cost. `name`: the setting, or the key of a rule, that sets it."""

    name: str
    usd: Decimal


def check_ceilings(estimate: BatchEstimate, ceilings: Collection[Ceiling]) -> None:
    """Raise BatchAboveCeiling, with the figures, if the known prices of a batch are above one of `ceilings`."""
    lowest, high = min(ceilings, key=lambda ceiling: ceiling.usd, default=None), estimate.high_usd
    if lowest is None or high is None or high <= lowest.usd:
        return
    runs = len(estimate.runs) - estimate.runs.count(None)
    raise BatchAboveCeiling(
        f"The batch is refused: estimated {dollars(high)} for {pluralize(runs, 'run')}; the ceiling {lowest.name} is "
        f"{dollars(lowest.usd)}. Submit fewer items, or have the operator of the service raise the ceiling."
    )


def item_prices(manifest: Manifest, schema: ModelSchema | None) -> list[PriceEstimate | None]:
    """Return the price of a run of each item, None if it is not known. `manifest` is as `fit_to_schema` returns it."""
    if schema is None:
        return [None] * len(manifest.items)
    return [
        estimate_price(schema, {**manifest.params, **item.params}, item.prompt, 1 if item.image else 0)
        for item in manifest.items
    ]


def start_price(config: BatchConfig, models: ModelCatalog, settings: Settings) -> Decimal:
    """Return the price of one run in US dollars, 0 if it is unknown. Only budgets and ceilings need it."""
    if not config.budgeted and settings.max_batch_usd is None and settings.max_day_usd is None:
        return Decimal(0)
    price = price_of_run(config, models)
    if price is None:
        log.warning("price_unknown", model=config.model)
    return price or Decimal(0)


def price_of_run(config: BatchConfig, models: ModelCatalog) -> Decimal | None:
    """Return the highest price of a run of a batch, for its items without a price of their own; None if unknown."""
    schema = models.schema(config.model)
    price = estimate_price(schema, config.params, None, 1) if schema else None
    return price.high_usd if price else None
