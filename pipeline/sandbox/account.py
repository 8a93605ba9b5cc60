"""The account: its balance, its active tasks, its bill."""

from __future__ import annotations

import math
from decimal import Decimal

from pipeline.sandbox.errors import INSUFFICIENT_BALANCE, TOO_MANY_TASKS, Refusal

UNLIMITED_ABOVE_USD = Decimal(250)
MIN_BALANCE_USD = Decimal("0.50")


def concurrency_limit(balance: Decimal) -> int | None:
    """Return how many tasks may be active at `balance` USD; None: no limit."""
    if balance > UNLIMITED_ABOVE_USD:
        return None
    return max(1, math.floor(balance / 10))


class Account:
    """The money and the active tasks of one project."""

    def __init__(self, balance: Decimal) -> None:
        self.balance = balance
        self.billed_usd = Decimal(0)
        self.billed_tasks = 0
        self.active = 0
        self.max_active_seen = 0

    def admit(self, price: Decimal) -> None:
        """Count one more active task.

        Raises Refusal (97) if the balance is below `price` or 0.50 USD, (96) if the concurrency limit is reached.
        """
        if self.balance < max(price, MIN_BALANCE_USD):
            raise Refusal(INSUFFICIENT_BALANCE, "Insufficient balance")
        limit = concurrency_limit(self.balance)
        if limit is not None and self.active >= limit:
            raise Refusal(
                TOO_MANY_TASKS,
                f"You have reached your concurrent task limit. With your current balance of ${self.balance:.2f}, "
                f"you can run up to {limit} tasks at the same time. Add funds to increase your limit.",
            )
        self.add_active()

    def add_active(self) -> None:
        """Count one more active task, without a check."""
        self.active += 1
        self.max_active_seen = max(self.max_active_seen, self.active)

    def remove_active(self) -> None:
        """Count one active task less."""
        self.active -= 1

    def charge(self, cost: Decimal) -> None:
        """Bill one task."""
        self.balance -= cost
        self.billed_usd += cost
        self.billed_tasks += 1
