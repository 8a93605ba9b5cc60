"""`retry`: let ended items go again."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import batch_argument, service, state_option, states
from pipeline.domain.states import ItemState

_RETRYABLE = (ItemState.FAILED, ItemState.UNKNOWN, ItemState.CANCELLED)


@click.command("retry")
@batch_argument
@click.option(
    "--status",
    "among",
    metavar="STATES",
    default="failed,unknown",
    show_default=True,
    callback=states(_RETRYABLE),
    help="Which: failed, unknown, cancelled, with commas between them.",
)
@state_option
def command(batch_id: str, among: tuple[str, ...], state: Path) -> None:
    """Let ended items of a batch go again. What is paid for already is copied again, not run again."""
    from pipeline.domain.formatting import pluralize

    count = service(state).control.retry(batch_id, among)
    if count:
        click.echo(f"{pluralize(count, 'item')} of {batch_id} to go again. `dailies watch {batch_id}` follows.")
    else:
        click.echo(f"Batch {batch_id} has no ended item that is {' or '.join(among)}.")
