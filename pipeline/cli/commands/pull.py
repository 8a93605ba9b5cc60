"""`pull`: copy the outputs, results and gallery of a batch to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import batch_argument, service, state_option
from pipeline.errors import DailiesError

if TYPE_CHECKING:
    from pipeline.batches.folder_copy import CopyResult
    from pipeline.domain.model import BatchRow

_MAX_FAILURES_SHOWN = 20
_MAX_RENAMED_SHOWN = 10


class FilesMissing(DailiesError):
    """Some files of the batch could not be copied."""


@click.command("pull")
@batch_argument
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--approved", is_flag=True, help="Only the outputs of approved items, and a gallery of them.")
@state_option
def command(batch_id: str, folder: Path | None, approved: bool, state: Path) -> None:
    """Copy the folder of a batch from S3 to DIR, by default a folder with the batch's id: outputs, results, gallery.

    A file that is there with the right content is not fetched again, so an interrupted command can be repeated. A
    batch that has not ended is copied as far as it is.
    """
    from pipeline.cli.pull_progress import pull_progress
    from pipeline.domain.formatting import pluralize
    from pipeline.local.batch_folder import BatchFolder

    app = service(state)
    batch = app.ledger.batches.get(batch_id)
    local = BatchFolder(app.storage, app.items, batch, folder or Path(batch_id), approved)
    outputs = local.outputs()
    if approved and not outputs:
        click.echo(f"No output of batch {batch_id!r} is approved: nothing to copy.")
        return
    files = local.files()
    with pull_progress(len(files)) as progress:
        result = local.pull(files, on_bytes=progress.add_bytes, on_file=progress.add_file)
    click.echo(f"{local.folder}: {pluralize(outputs, 'approved output' if approved else 'output')}. {_summary(result)}")
    _print_renamed(local.renamed(files))
    _print_rest(batch)
    if local.gallery.exists():
        click.echo(f"Gallery: {local.gallery.absolute().as_uri()}")
    _check(result, batch_id)


def _summary(result: CopyResult) -> str:
    from rich.filesize import decimal

    from pipeline.domain.formatting import pluralize

    if not result.fetched:
        return f"All {pluralize(result.present, 'file')} were there already." if result.present else "No files yet."
    there = f", {result.present:,} were there already" if result.present else ""
    return f"{pluralize(result.fetched, 'file')} fetched ({decimal(result.fetched_bytes)}){there}."


def _print_renamed(renamed: list[tuple[str, str]]) -> None:
    from pipeline.domain.formatting import pluralize
    from pipeline.domain.plain_text import escape_control_chars

    if renamed:
        click.echo(f"{pluralize(len(renamed), 'file')} renamed: other systems reserve or do not distinguish the names.")
    for there, here in renamed[:_MAX_RENAMED_SHOWN]:
        click.echo(escape_control_chars(f"  {there} is {here}"))


def _print_rest(batch: BatchRow) -> None:
    from pipeline.domain.formatting import pluralize
    from pipeline.domain.states import BATCH_TERMINAL, ended_count

    if batch.status not in BATCH_TERMINAL:
        ended = f"{ended_count(batch.counts):,} of {pluralize(batch.total, 'item')}"
        click.echo(f"The batch is {batch.status}, {ended} ended. Repeat the command for the rest.")


def _check(result: CopyResult, batch_id: str) -> None:
    """Raise FilesMissing if a file could not be copied."""
    from pipeline.domain.formatting import pluralize
    from pipeline.domain.plain_text import escape_control_chars

    for failure in result.failures[:_MAX_FAILURES_SHOWN]:
        click.echo(escape_control_chars(failure), err=True)
    if result.failures:
        raise FilesMissing(f"{pluralize(len(result.failures), 'file')} of batch {batch_id!r} could not be copied.")
