"""`submit`: a manifest becomes a batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import json_option, settings, state_option
from pipeline.domain.results import results_uri

if TYPE_CHECKING:
    from pipeline.batches.service import Service
    from pipeline.manifest.loader import LoadedManifest


@click.command("submit")
@click.argument("file")
@click.option("--batch-id", metavar="ID", help="Its id; the same again is the same batch. Default: a new one.")
@click.option("--wait", is_flag=True, help="Show progress until the batch ends; exit code 1 unless all succeeded.")
@click.option("--dry-run", is_flag=True, help="Show the items and the estimated cost; enqueue nothing.")
@json_option
@state_option
def command(file: str, batch_id: str | None, wait: bool, dry_run: bool, as_json: bool, state: Path) -> None:
    """Take a manifest in and print the id of its batch as the last line of stdout.

    FILE may also be - for stdin, or an s3:// address. Exit codes: 0, 2 invalid, 3 Redis or S3 does not answer.
    """
    from pipeline.batches.service import Service
    from pipeline.manifest.loader import load_manifest
    from pipeline.storage.s3 import Storage

    setup = settings(state)
    given = load_manifest(file, lambda: Storage(setup.s3_endpoint))
    if dry_run:
        from pipeline.cli.estimate import show

        show(given.manifest, setup, as_json=as_json)
        return
    service = Service.connect(setup)
    service.ledger.check_schema()
    _submit(service, given, batch_id, wait=wait, as_json=as_json)


def _submit(service: Service, given: LoadedManifest, batch_id: str | None, *, wait: bool, as_json: bool) -> None:
    from pipeline.cli.progress import follow
    from pipeline.cli.terminal import console, print_json
    from pipeline.domain.results import status_document
    from pipeline.domain.states import BatchState

    accepted = service.submission.submit(given.manifest, batch_id, trigger="cli", folder=given.folder)
    people = console(stderr=True)
    if not accepted.created:
        people.print(f"Batch {accepted.batch_id} was there already.")
    batch = follow(service.ledger, accepted.batch_id, people) if wait else service.ledger.batches.get(accepted.batch_id)
    if wait:
        people.print(f"Results: {results_uri(batch)}")
    if as_json:
        print_json({**status_document(batch), "new": accepted.created})
    else:
        click.echo(accepted.batch_id)
    if wait and batch.status != BatchState.SUCCEEDED:
        raise SystemExit(1)
