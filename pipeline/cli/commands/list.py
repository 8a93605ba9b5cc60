"""`list`: the newest batches."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import ledger, state_option

_MAX_BATCHES = 50


@click.command("list")
@state_option
def command(state: Path) -> None:
    """List the 50 newest batches, newest first."""
    from pipeline.cli.descriptions import print_batches
    from pipeline.cli.terminal import console

    print_batches(console(), ledger(state).queries.recent_batches(_MAX_BATCHES))
