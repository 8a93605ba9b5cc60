"""`results`: print the results manifest."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

import click

from pipeline.cli.options import batch_argument, service, state_option
from pipeline.errors import DailiesError

_CHUNK_BYTES = 64 * 1024


class NotEnded(DailiesError):
    """The batch has not ended: its results do not exist yet."""


@click.command("results")
@batch_argument
@state_option
def command(batch_id: str, state: Path) -> None:
    """Print results.json of a batch. Exit code 1 if the batch has not ended."""
    from pipeline.cli.terminal import harmless_json
    from pipeline.domain.results import results_uri
    from pipeline.domain.states import BATCH_TERMINAL

    app = service(state)
    batch = app.ledger.batches.get(batch_id)
    if not batch.is_accepted:
        raise NotEnded(
            f"Batch {batch_id!r} has no results: its submission was not completed. `dailies status {batch_id}`."
        )
    uri = results_uri(batch)
    if app.storage.info(uri) is None:
        if batch.status in BATCH_TERMINAL:
            raise DailiesError(f"{uri} does not exist: it was deleted after batch {batch_id!r} ended.")
        raise NotEnded(
            f"Batch {batch_id!r} has not ended ({batch.status}): its results do not exist yet. "
            f"Follow it: `dailies watch {batch_id}`."
        )
    if batch.status not in BATCH_TERMINAL:
        click.echo(f"Batch {batch_id!r} is open again ({batch.status}): these are its previous results.", err=True)
    with app.storage.open(uri) as source:
        chunks = iter(lambda: source.read(_CHUNK_BYTES), b"")
        # A terminal interprets control characters; a program gets the bytes.
        is_terminal = sys.stdout.isatty()
        for chunk in map(harmless_json, codecs.iterdecode(chunks, "utf-8", "replace")) if is_terminal else chunks:
            click.echo(chunk, nl=False)
