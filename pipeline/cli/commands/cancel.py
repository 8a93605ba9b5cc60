"""`cancel`: cancel a batch."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import batch_argument, service, state_option


@click.command("cancel")
@batch_argument
@state_option
def command(batch_id: str, state: Path) -> None:
    """Cancel a batch: pending items are cancelled, active runs are cancelled or killed at the vendor."""
    from pipeline.domain.states import BATCH_TERMINAL, BatchState

    app = service(state)
    status = app.ledger.batches.get(batch_id).status
    if status in BATCH_TERMINAL:
        click.echo(f"Batch {batch_id} has ended already ({status}).")
        return
    app.control.cancel(batch_id)
    batch = app.ledger.batches.get(batch_id)
    if batch.status == BatchState.CANCELLED and not batch.is_accepted:
        click.echo(f"Batch {batch_id} is cancelled. Its submission was not completed: nothing was started.")
        return
    click.echo(f"Batch {batch_id} is being cancelled. Runs that still succeed keep their output.")
