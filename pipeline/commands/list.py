"""`list`: the newest batches."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.shared import ledger, state_option

_NEWEST = 50


@click.command("list")
@state_option
def command(state: Path) -> None:
    """The 50 newest batches, newest first."""
    from pipeline.commands.descriptions import print_batches
    from pipeline.terminal import console

    print_batches(console(), ledger(state).batches(_NEWEST))
