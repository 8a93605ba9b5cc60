"""Limits under ceilings. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from pipeline.domain.model import Limits
from pipeline.domain.retry_policy import Tolerance

_Number = TypeVar("_Number", int, float, Decimal)


def capped(limits: Limits, ceilings: Limits, items: int) -> Limits:
    """Return the limits of a batch of `items` items under `ceilings`: the stricter one of each.

    A limit that is missing is the ceiling. `ceilings` allow everything that they do not limit, also 20 attempts.
    """
    tolerances = [text for text in (limits.tolerated_failures, ceilings.tolerated_failures) if text is not None]
    return Limits(
        max_active=_least(limits.max_active, ceilings.max_active),
        budget_usd=_least(limits.budget_usd, ceilings.budget_usd),
        attempts=min(limits.attempts, ceilings.attempts),
        tolerated_failures=min(tolerances, key=lambda text: Tolerance.of(text, items).limit, default=None),
        deadline_s=_least(limits.deadline_s, ceilings.deadline_s),
    )


def _least(limit: _Number | None, ceiling: _Number | None) -> _Number | None:
    return min((value for value in (limit, ceiling) if value is not None), default=None)
