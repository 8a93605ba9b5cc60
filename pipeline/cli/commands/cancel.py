"""`cancel`: stop a batch."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import batch_argument, service, state_option


@click.command("cancel")
@batch_argument
@state_option
def command(batch_id: str, state: Path) -> None:
    """Stop a batch: what waits is cancelled, what runs is cancelled or killed at the vendor."""
    from pipeline.domain.states import BATCH_TERMINAL

    found = service(state)
    before = found.ledger.batches.get(batch_id).status
    if before in BATCH_TERMINAL:
        click.echo(f"Batch {batch_id} has ended already ({before}).")
        return
    found.control.cancel(batch_id)
    click.echo(f"Batch {batch_id} is being cancelled. Runs that end well all the same are kept.")
