"""`forget`: drop an ended batch from Redis."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import batch_argument, service, state_option


@click.command("forget")
@batch_argument
@state_option
def command(batch_id: str, state: Path) -> None:
    """Drop an ended batch from Redis: no list shows it any more. What is on S3 stays; `recover` loads it again."""
    app = service(state)
    folder = app.ledger.batches.get(batch_id).output
    app.retention.forget(batch_id)
    click.echo(
        f"Batch {batch_id} is deleted from Redis. Its files stay on S3: `dailies recover {folder}` loads it again."
    )
