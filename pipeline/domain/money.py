"""Money as whole pico-dollars, so that sums are exact. Pure."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

_PICO = Decimal(10) ** 12


def to_pico(usd: Decimal) -> int:
    """Convert US dollars to whole pico-dollars (10^-12), rounded up. The ledger adds these."""
    return int((usd * _PICO).to_integral_value(rounding=ROUND_UP))


def from_pico(pico: int | str) -> Decimal:
    """Convert whole pico-dollars to US dollars."""
    return Decimal(pico) / _PICO
