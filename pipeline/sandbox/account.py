"""The account: its balance, its places, its bill."""

from __future__ import annotations

import math
from decimal import Decimal

from pipeline.sandbox.errors import INSUFFICIENT_BALANCE, TOO_MANY_TASKS, Refusal

UNLIMITED_ABOVE_USD = Decimal(250)


def places(balance: Decimal) -> int | None:
    """How many tasks may be active at `balance` USD; None: as many as one likes."""
    if balance > UNLIMITED_ABOVE_USD:
        return None
    return max(1, math.floor(balance / 10))


class Account:
    """One project's money and active tasks."""

    def __init__(self, balance: Decimal) -> None:
        self.balance = balance
        self.billed_usd = Decimal(0)
        self.billed_tasks = 0
        self.active = 0
        self.max_active_seen = 0

    def admit(self, price: Decimal) -> None:
        """Take one place. Raises Refusal (97) when there is too little money, (96) when no place is free."""
        if self.balance < price:
            raise Refusal(INSUFFICIENT_BALANCE, "Insufficient balance. Please add funds to your account.")
        limit = places(self.balance)
        if limit is not None and self.active >= limit:
            raise Refusal(
                TOO_MANY_TASKS,
                "You have reached the concurrent task limit: with your balance you can run up to "
                f"{limit} task{'' if limit == 1 else 's'} at the same time.",
            )
        self.occupy()

    def occupy(self) -> None:
        """Take one place without asking."""
        self.active += 1
        self.max_active_seen = max(self.max_active_seen, self.active)

    def release(self) -> None:
        """Give one place back."""
        self.active -= 1

    def charge(self, cost: Decimal) -> None:
        """Bill one task that succeeded."""
        self.balance -= cost
        self.billed_usd += cost
        self.billed_tasks += 1
