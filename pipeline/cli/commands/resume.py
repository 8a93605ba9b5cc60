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
    if batch_id is None:
        found.control.resume_account()
        click.echo("The account goes on.")
        return
    found.control.resume(batch_id)
    click.echo(f"Batch {batch_id} is {found.ledger.batches.get(batch_id).status}.")
