"""`resume`: submit again."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import optional_batch_argument, service, state_option


@click.command("resume")
@optional_batch_argument
@state_option
def command(batch_id: str | None, state: Path) -> None:
    """Resume a paused BATCH; without BATCH, the account."""
    app = service(state)
    if batch_id is None:
        app.control.resume_account()
        click.echo("The account is resumed.")
        return
    app.control.resume(batch_id)
    click.echo(f"Batch {batch_id} is {app.ledger.batches.get(batch_id).status}.")
