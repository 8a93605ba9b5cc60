"""`validate`: check a manifest, a file of rows, or images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import check_images_option, settings, source_options, state_option

if TYPE_CHECKING:
    from pipeline.manifest.sources import SourceOptions


@click.command("validate")
@source_options
@check_images_option
@click.option("--offline", is_flag=True, help="Do not check the params against the model's schema at the vendor.")
@state_option
def command(paths: tuple[str, ...], options: SourceOptions, check_images: bool, offline: bool, state: Path) -> None:
    """Check a manifest and print every error as FILE:LINE:COL: message.

    PATH is as for `submit`. With a key for the vendor, the params are also checked against the schema of the model.
    Exit code 2 if there is an error.
    """
    from pipeline.batches.model_catalog import ModelCatalog
    from pipeline.cli.terminal import print_note, print_notes
    from pipeline.domain.formatting import pluralize
    from pipeline.domain.plain_text import escape_control_chars
    from pipeline.errors import InvalidManifest
    from pipeline.manifest.sources import load_source
    from pipeline.storage.s3 import Storage

    schema_of = None if offline else ModelCatalog.of(settings(state)).for_checks(print_note)
    try:
        loaded = load_source(paths, options, lambda: Storage(settings(state).s3_endpoint), schema_of)
        if not offline:
            loaded.check_notify(settings(state).notify_hosts)
        print_notes(loaded.notes)
        if check_images:
            from pipeline.cli.image_check import check_manifest_images

            check_manifest_images(loaded, settings(state))
    except InvalidManifest as error:
        for problem in error.problems:
            click.echo(escape_control_chars(str(problem)))
        raise SystemExit(error.exit_code) from None
    manifest = loaded.manifest
    click.echo(f"{paths[0]}: valid: {manifest.name}, {pluralize(len(manifest.items), 'item')}, {manifest.model}")
