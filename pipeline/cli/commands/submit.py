"""`submit`: create a batch from a manifest, a file of rows, or images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import (
    check_images_option,
    json_option,
    redis_of_up,
    settings,
    source_options,
    state_option,
)
from pipeline.domain.results import results_uri
from pipeline.errors import Unreachable

if TYPE_CHECKING:
    from pipeline.batches.pricing import BatchEstimate
    from pipeline.batches.service import Service
    from pipeline.manifest.loader import LoadedManifest
    from pipeline.manifest.sources import SourceOptions


@click.command("submit")
@source_options
@click.option(
    "--batch-id", metavar="ID", help="Id of the batch; the same id again is the same batch. Default: a new id."
)
@click.option("--wait", is_flag=True, help="Show progress until the batch ends; exit code 1 unless all items succeed.")
@click.option(
    "--dry-run", is_flag=True, help="Check the images, show columns, items and estimated cost; create nothing."
)
@check_images_option
@json_option
@state_option
def command(
    paths: tuple[str, ...],
    options: SourceOptions,
    batch_id: str | None,
    wait: bool,
    dry_run: bool,
    check_images: bool,
    as_json: bool,
    state: Path,
) -> None:
    """Create a batch. The last line of stdout is the batch's id.

    PATH is a manifest (a path, - for stdin, or an s3:// URI), a .csv, .tsv or .jsonl file of rows, or images and
    folders of images. Exit codes: 0, 2 invalid, 3 Redis or S3 is unavailable.
    """
    from pipeline.batches.model_catalog import ModelCatalog
    from pipeline.batches.pricing import BatchEstimate
    from pipeline.batches.service import Service
    from pipeline.cli.terminal import print_note, print_notes
    from pipeline.manifest.sources import load_source

    config = settings(state)
    app = Service.connect(config)
    # A dry run needs no Redis.
    models = ModelCatalog.of(config) if dry_run else app.models
    with redis_of_up(state):
        loaded = load_source(paths, options, lambda: app.storage, models.for_checks(print_note))
    loaded.check_notify(config.notify_hosts)
    print_notes(loaded.notes)
    if dry_run or check_images:
        from pipeline.cli.image_check import check_manifest_images

        check_manifest_images(loaded, config)
    estimate = BatchEstimate.of(loaded.manifest, models)
    if dry_run:
        _show_estimate(app, loaded, estimate, as_json=as_json)
        return
    with redis_of_up(state):
        app.ledger.check_schema()
        estimate = app.submission.with_reuse(estimate, loaded.manifest, loaded.folder)
    click.echo(f"{estimate}.", err=True)
    _submit(app, loaded, batch_id, state, wait=wait, as_json=as_json)


def _show_estimate(app: Service, loaded: LoadedManifest, estimate: BatchEstimate, *, as_json: bool) -> None:
    """Show a dry run. Raises BatchAboveCeiling."""
    from pipeline.cli.estimate import show
    from pipeline.cli.terminal import print_notes

    try:
        estimate = app.submission.with_reuse(estimate, loaded.manifest, loaded.folder)
    except Unreachable as error:
        print_notes([f"Which outputs are reused is not known: {error}"])
    show(loaded, estimate, app.settings.output, as_json=as_json)
    app.submission.check_cost(estimate)


def _submit(
    app: Service, loaded: LoadedManifest, batch_id: str | None, state: Path, *, wait: bool, as_json: bool
) -> None:
    from pipeline.batches.json_documents import BatchStatus
    from pipeline.cli.next_steps import next_steps
    from pipeline.cli.progress import follow
    from pipeline.cli.terminal import console, print_fields, print_json
    from pipeline.cli.waiting import waiting_for
    from pipeline.domain.states import BatchState

    accepted = app.submission.submit(loaded.manifest, batch_id, trigger="cli", folder=loaded.folder)
    messages = console(stderr=True)
    if not accepted.created:
        messages.print(f"Batch {accepted.batch_id} exists already.")
    if wait:
        with waiting_for(accepted.batch_id, state):
            follow(app.ledger, accepted.batch_id, messages)
    batch = app.ledger.batches.get(accepted.batch_id)
    if wait:
        results = [("results", results_uri(batch))] if batch.is_accepted else []
        print_fields(messages, [*results, *next_steps(app.settings, batch, state)])
    if as_json:
        print_json({**BatchStatus.of(batch).as_json(), "new": accepted.created})
    else:
        click.echo(accepted.batch_id)
    if wait and batch.status != BatchState.SUCCEEDED:
        raise SystemExit(1)
