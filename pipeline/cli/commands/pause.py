"""`pause`: stop submitting."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import optional_batch_argument, service, state_option


@click.command("pause")
@optional_batch_argument
@state_option
def command(batch_id: str | None, state: Path) -> None:
    """Submit nothing more of BATCH; without BATCH, of any batch. Active runs continue and are collected."""
    app = service(state)
    if batch_id is None:
        app.control.pause_account()
        click.echo("The account is paused. Resume it: `dailies resume`.")
        return
    app.control.pause(batch_id)
    status = app.ledger.batches.get(batch_id).status
    if status == "paused":
        click.echo(f"Batch {batch_id} is paused. Resume it: `dailies resume {batch_id}`.")
    else:
        click.echo(f"Batch {batch_id} is {status}: there is nothing to pause.")
