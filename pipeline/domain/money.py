"""Money: exact sums of US dollars. Pure."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

_PICO = Decimal(10) ** 12


def to_pico(usd: Decimal) -> int:
    """US dollars as whole pico-dollars, rounded up: what the ledger adds up without losing a digit."""
    return int((usd * _PICO).to_integral_value(rounding=ROUND_UP))


def from_pico(pico: int | str) -> Decimal:
    """Whole pico-dollars as US dollars."""
    return Decimal(pico) / _PICO
