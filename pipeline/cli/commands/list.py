"""`list`: the newest batches."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import json_option, ledger, state_option

_MAX_BATCHES = 50


@click.command("list")
@json_option
@state_option
def command(as_json: bool, state: Path) -> None:
    """List the 50 newest batches, newest first."""
    from pipeline.batches.json_documents import BatchStatus
    from pipeline.cli.descriptions import print_batches
    from pipeline.cli.terminal import console, print_json

    rows = ledger(state).queries.recent_batches(_MAX_BATCHES)
    if as_json:
        print_json([BatchStatus.of(row).as_json() for row in rows])
    else:
        print_batches(console(), rows)
