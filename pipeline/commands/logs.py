"""`logs`: the messages of a run, live."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.shared import batch_argument, service, state_option
from pipeline.errors import DailiesError


class NoRunYet(DailiesError):
    """The vendor has no run of this item yet."""


@click.command("logs")
@batch_argument
@click.argument("item_id", metavar="ITEM")
@state_option
def command(batch_id: str, item_id: str, state: Path) -> None:
    """What the vendor says of an item's latest run, from now until it ends."""
    from pipeline.terminal import console, visible
    from pipeline.wiro import Wiro

    found = service(state)
    run = found.ledger.run_of(batch_id, item_id)
    if run is None:
        raise NoRunYet(f"There is no run of {item_id!r} yet. `dailies items {batch_id}` says how it is doing.")
    out = console()
    out.print(f"Run {run.task_id}, attempt {run.attempt}", style="bold")
    for message in Wiro.from_settings(found.settings).progress(run.token):
        out.print(visible(f"{message.type}  {message.text}".rstrip()))
