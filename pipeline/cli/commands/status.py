"""`status`: how a batch is doing; without one, how the account is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import json_option, ledger, state_option

if TYPE_CHECKING:
    from pipeline.ledger.ledger import Ledger

_NEWEST = 10


@click.command("status")
@click.argument("batch_id", metavar="[BATCH]", required=False)
@json_option
@state_option
def command(batch_id: str | None, as_json: bool, state: Path) -> None:
    """How a batch is doing; without BATCH the account and the newest batches."""
    found = ledger(state)
    if batch_id is None:
        _account(found, as_json=as_json)
    else:
        _batch(found, batch_id, as_json=as_json)


def _batch(found: Ledger, batch_id: str, *, as_json: bool) -> None:
    from pipeline.cli.descriptions import print_account_trouble, print_batch
    from pipeline.cli.terminal import console, print_json
    from pipeline.domain.results import status_document
    from pipeline.domain.states import BATCH_TERMINAL

    row = found.batches.get(batch_id)
    if as_json:
        print_json(status_document(row))
        return
    out = console()
    print_batch(out, found, row)
    if row.status not in BATCH_TERMINAL:
        print_account_trouble(out, found.account.get())


def _account(found: Ledger, *, as_json: bool) -> None:
    from pipeline.cli.descriptions import account_document, print_account, print_batches
    from pipeline.cli.terminal import console, print_json
    from pipeline.domain.results import status_document

    account, batches = found.account.get(), found.queries.recent_batches(_NEWEST)
    if as_json:
        print_json({"account": account_document(account), "batches": [status_document(row) for row in batches]})
        return
    out = console()
    print_account(out, account)
    out.print()
    print_batches(out, batches)
