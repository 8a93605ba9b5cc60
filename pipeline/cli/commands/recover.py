"""`recover`: rebuild a batch that Redis has lost from S3."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import service, state_option


@click.command("recover")
@click.argument("uri", metavar="s3://…/BATCH/")
@state_option
def command(uri: str, state: Path) -> None:
    """Rebuild a batch's ledger from its folder on S3 and continue the batch. No run is paid for twice."""
    click.echo(service(state).recovery.recover(uri))
