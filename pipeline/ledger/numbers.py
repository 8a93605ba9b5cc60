"""Numbers as hashes store them. One that cannot be read counts as 0, so that it does not hide the others. Pure."""

from __future__ import annotations

from decimal import Decimal

from pipeline.domain.money import from_pico


def whole(text: str | None) -> int:
    """Return a whole number; 0 if there is none, or if it cannot be read."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def usd(text: str | None) -> Decimal:
    """Return an amount of pico-USD in USD; 0 if there is none, or if it cannot be read."""
    return from_pico(whole(text))
