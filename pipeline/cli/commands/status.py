"""`status`: show a batch, or the account and the newest batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import json_option, ledger, optional_batch_argument, settings, state_option

if TYPE_CHECKING:
    from pipeline.ledger.ledger import Ledger
    from pipeline.settings import Settings

_MAX_BATCHES = 10


@click.command("status")
@optional_batch_argument
@json_option
@state_option
def command(batch_id: str | None, as_json: bool, state: Path) -> None:
    """Show the status of BATCH; without BATCH, of the account and the newest batches."""
    stores = ledger(state)
    if batch_id is None:
        _show_account(stores, as_json=as_json)
    else:
        _show_batch(stores, settings(state), batch_id, state, as_json=as_json)


def _show_batch(stores: Ledger, config: Settings, batch_id: str, state: Path, *, as_json: bool) -> None:
    from pipeline.batches.json_documents import BatchStatus
    from pipeline.cli.descriptions import print_account_notice, print_batch
    from pipeline.cli.next_steps import next_steps
    from pipeline.cli.terminal import console, print_fields, print_json
    from pipeline.domain.states import BATCH_TERMINAL

    row = stores.batches.get(batch_id)
    if as_json:
        print_json(BatchStatus.of(row, stores.account.get(), stores.queries.failure_causes(batch_id)).as_json())
        return
    out = console()
    print_batch(out, stores, row)
    if row.status not in BATCH_TERMINAL:
        print_account_notice(out, stores.account.get())
    print_fields(out, next_steps(config, row, state))


def _show_account(stores: Ledger, *, as_json: bool) -> None:
    from pipeline.batches.json_documents import Account, BatchStatus
    from pipeline.cli.descriptions import print_account, print_batches, print_set_aside
    from pipeline.cli.terminal import console, print_json

    account, batches = stores.account.get(), stores.queries.recent_batches(_MAX_BATCHES)
    if as_json:
        rows = [BatchStatus.of(row).as_json() for row in batches]
        print_json({"account": Account.of(account).as_json(), "batches": rows})
        return
    out = console()
    print_account(out, account)
    print_set_aside(out, stores.set_aside.number())
    out.print()
    print_batches(out, batches)
