"""`pause`: submit nothing more."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import service, state_option


@click.command("pause")
@click.argument("batch_id", metavar="[BATCH]", required=False)
@state_option
def command(batch_id: str | None, state: Path) -> None:
    """Submit nothing more, of BATCH or of the whole account. What runs is collected all the same."""
    found = service(state)
    if batch_id is None:
        found.control.pause_account()
        click.echo("The account is paused. `dailies resume` goes on.")
        return
    found.control.pause(batch_id)
    status = found.ledger.batches.get(batch_id).status
    if status == "paused":
        click.echo(f"Batch {batch_id} is paused. `dailies resume {batch_id}` goes on.")
    else:
        click.echo(f"Batch {batch_id} is {status}: there is nothing to pause.")
