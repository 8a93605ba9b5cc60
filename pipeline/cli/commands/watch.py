"""`watch`: follow a batch."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import batch_argument, ledger, state_option


@click.command("watch")
@batch_argument
@state_option
def command(batch_id: str, state: Path) -> None:
    """Follow a batch until it ends. Ctrl-C stops only this command, not the batch."""
    from pipeline.cli.descriptions import print_batch
    from pipeline.cli.progress import follow
    from pipeline.cli.terminal import console
    from pipeline.cli.waiting import waiting_for

    out, stores = console(), ledger(state)
    with waiting_for(batch_id, state):
        batch = follow(stores, batch_id, out)
    out.print()
    print_batch(out, stores, batch)
