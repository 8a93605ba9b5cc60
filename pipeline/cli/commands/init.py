"""`init`: print the manifest of rows or images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import settings, source_options, state_option

if TYPE_CHECKING:
    from pipeline.manifest.sources import SourceOptions


@click.command("init")
@source_options
@state_option
def command(paths: tuple[str, ...], options: SourceOptions, state: Path) -> None:
    """Print the manifest that `submit` would use, to edit it: `dailies init photos/ --prompt "…" > batch.yaml`.

    PATH and the options are as for `submit`. Exit code 2 if there is an error.
    """
    from pipeline.batches.model_catalog import ModelCatalog
    from pipeline.cli.terminal import print_note, print_notes
    from pipeline.manifest.parser import dump
    from pipeline.manifest.sources import load_source, relative_to
    from pipeline.storage.s3 import Storage

    config = settings(state)
    models = ModelCatalog.of(config)
    loaded = load_source(paths, options, lambda: Storage(config.s3_endpoint), models.for_checks(print_note))
    print_notes(loaded.notes)
    moved = relative_to(loaded, Path())
    if moved.folder != Path():
        click.echo(f"Save the manifest in {moved.folder}: its images are relative to this folder.", err=True)
    click.echo(dump(moved.manifest), nl=False)
