"""Money as whole pico-dollars, so that sums are exact. Pure."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from pipeline.errors import AmountTooLarge

MAX_USD = Decimal(9_000_000)
"""The largest amount in US dollars that the ledger counts: Redis adds integers of 64 bits, in pico-dollars."""
_PICO = Decimal(10) ** 12
_OVERCHARGE_FACTOR = 3


def to_pico(usd: Decimal) -> int:
    """Convert US dollars to whole pico-dollars (10^-12), rounded up. The ledger adds these. Raises AmountTooLarge."""
    if usd > MAX_USD:
        raise AmountTooLarge(usd, MAX_USD)
    return int((usd * _PICO).to_integral_value(rounding=ROUND_UP))


def from_pico(pico: int | str) -> Decimal:
    """Convert whole pico-dollars to US dollars."""
    return Decimal(pico) / _PICO


def plain_usd(usd: Decimal) -> str:
    """Format US dollars as decimal text, without trailing zeros."""
    return format(usd.normalize(), "f") if usd else "0"


def overcharge_warning(what: str, charged_usd: Decimal, expected_usd: Decimal) -> str:
    """Return a warning if a charge is above three times the expected price, or above MAX_USD; else ''.

    `what`: what was charged. `expected_usd` 0: no price is known.
    """
    is_far_above = expected_usd > 0 and charged_usd > _OVERCHARGE_FACTOR * expected_usd
    if not is_far_above and charged_usd <= MAX_USD:
        return ""
    counted = "" if charged_usd <= MAX_USD else f" It is counted as {plain_usd(MAX_USD)} USD."
    expected = f"{plain_usd(expected_usd)} USD were expected" if expected_usd else "no price is known"
    return f"The vendor charged {plain_usd(charged_usd)} USD for {what}; {expected}.{counted} Report it to the vendor."
