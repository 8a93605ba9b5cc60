"""Names of the keys that several modules of the ledger need; ledger.py has the table of all. Pure."""

from __future__ import annotations

PREFIX = "dailies:"


def batch_key(batch_id: str) -> str:
    """The hash of a batch; its other keys begin with this."""
    return f"{PREFIX}batch:{batch_id}"


def item_key(batch_id: str, item_id: str) -> str:
    """The hash of an item."""
    return f"{PREFIX}item:{batch_id}:{item_id}"
