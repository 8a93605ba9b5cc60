"""What further runs of a batch cost, by the prices in the ledger. Pure."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from pipeline.domain.formatting import dollars, pluralize
from pipeline.domain.model import BatchRow
from pipeline.domain.states import ItemState
from pipeline.ledger.records import BatchBudget

_CENT = Decimal("0.01")


def run_price(batch: BatchRow, budget: BatchBudget) -> Decimal | None:
    """Return what a run of a batch costs at most, in USD; None if no price is known.

    Without the vendor's price, it is what the runs that succeeded cost on average, rounded up to a cent.
    """
    if budget.price_usd is not None:
        return budget.price_usd
    bought = batch.counts.get(ItemState.SUCCEEDED, 0) - batch.reused
    if bought <= 0 or not batch.cost_usd:
        return None
    return (batch.cost_usd / bought).quantize(_CENT, ROUND_UP)


def retry_price(price_usd: Decimal | None, runs: int) -> Decimal | None:
    """Return what a number of runs cost at most; None if the price of a run is not known."""
    return None if price_usd is None else price_usd * runs


def price_words(price_usd: Decimal | None, runs: int) -> str:
    """Return the cost of runs as a button shows it: `up to $0.36`."""
    total = retry_price(price_usd, runs)
    return "price unknown" if total is None else f"up to {dollars(total)}"


def purchase_question(price_usd: Decimal | None, runs: int) -> str:
    """Return the question before runs are bought: how many, and what they cost."""
    if price_usd is None:
        return f"Start {pluralize(runs, 'run')}? The price of a run is not known."
    each = f", {dollars(price_usd)} each" if runs > 1 else ""
    return f"Start {pluralize(runs, 'run')} for up to {dollars(price_usd * runs)}{each}?"
