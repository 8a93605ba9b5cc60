"""`retry`: retry ended items."""

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
    "selected",
    metavar="STATES",
    # Before BATCH, which is looked up in the service: a typo is reported without it.
    is_eager=True,
    default=ItemState.FAILED,
    show_default=True,
    callback=states(_RETRYABLE),
    help="Comma-separated: failed, unknown, cancelled. The vendor may have billed the run of an unknown item already.",
)
@state_option
def command(batch_id: str, selected: tuple[str, ...], state: Path) -> None:
    """Retry ended items of a batch. Outputs that are paid for are copied again, not bought again."""
    from pipeline.domain.formatting import pluralize

    count = service(state).control.retry(batch_id, selected)
    if count:
        click.echo(f"Retrying {pluralize(count, 'item')} of {batch_id}. Follow it: `dailies watch {batch_id}`.")
    else:
        click.echo(f"Batch {batch_id} has no ended item that is {' or '.join(selected)}.")
