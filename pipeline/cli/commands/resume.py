"""`resume`: go on."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import service, state_option


@click.command("resume")
@click.argument("batch_id", metavar="[BATCH]", required=False)
@state_option
def command(batch_id: str | None, state: Path) -> None:
    """Go on with a paused BATCH; without one, with the account."""
    found = service(state)
    found.resume(batch_id)
    if batch_id is None:
        click.echo("The account goes on.")
        return
    click.echo(f"Batch {batch_id} is {found.ledger.batch(batch_id).status}.")
