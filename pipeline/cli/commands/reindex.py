"""`reindex`: rebuild the index of outputs that can be reused."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import service, state_option


@click.command("reindex")
@state_option
def command(state: Path) -> None:
    """Find the outputs on S3 that batches with `reuse` can copy, in the results of all batches under PIPELINE_OUTPUT.

    It is needed after Redis was lost, before `recover`. Exit code 1 if the results of a batch cannot be read.
    """
    from pipeline.batches.reuse_index import reindex
    from pipeline.cli.terminal import print_notes
    from pipeline.domain.formatting import pluralize

    app = service(state)
    report = reindex(app.storage, app.ledger, app.settings.output)
    print_notes(f"{batch}: its results cannot be read: {reason}" for batch, reason in report.damaged.items())
    batches = f"{report.batches:,} {'batch' if report.batches == 1 else 'batches'}"
    click.echo(f"{pluralize(report.items, 'output')} of {batches} can be reused.")
    if report.damaged:
        raise SystemExit(1)
