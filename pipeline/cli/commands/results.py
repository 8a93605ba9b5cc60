"""`results`: the results manifest, as it lies on S3."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import batch_argument, service, state_option
from pipeline.errors import DailiesError

_PIECE = 64 * 1024


class NotEnded(DailiesError):
    """The results are written when a batch ends."""


@click.command("results")
@batch_argument
@state_option
def command(batch_id: str, state: Path) -> None:
    """Print results.json of a batch. Exit code 1 while it has not ended."""
    from pipeline.domain.results import results_uri
    from pipeline.domain.states import BATCH_TERMINAL

    found = service(state)
    batch = found.ledger.batches.get(batch_id)
    uri = results_uri(batch)
    if found.storage.info(uri) is None:
        if batch.status in BATCH_TERMINAL:
            raise DailiesError(f"There is no object {uri}: it has been deleted since batch {batch_id!r} ended.")
        raise NotEnded(
            f"Batch {batch_id!r} has not ended ({batch.status}): its results are written then. "
            f"`dailies watch {batch_id}` follows it."
        )
    if batch.status not in BATCH_TERMINAL:
        click.echo(f"Batch {batch_id!r} was opened again ({batch.status}): these are its last results.", err=True)
    with found.storage.open(uri) as source:
        while piece := source.read(_PIECE):
            click.echo(piece, nl=False)
