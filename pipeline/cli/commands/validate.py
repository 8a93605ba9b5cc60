"""`validate`: check a manifest."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import check_images_option, settings, state_option


@click.command("validate")
@click.argument("file")
@check_images_option
@click.option("--offline", is_flag=True, help="Do not check the params against the model's schema at the vendor.")
@state_option
def command(file: str, check_images: bool, offline: bool, state: Path) -> None:
    """Check a manifest and print every error as FILE:LINE:COL: message.

    FILE is a path, - for stdin, or an s3:// URI. With a key for the vendor, the params are also checked against the
    schema of the model. Exit code 2 if the manifest has an error.
    """
    from pipeline.batches.model_catalog import ModelCatalog
    from pipeline.cli.terminal import print_note
    from pipeline.domain.formatting import pluralize
    from pipeline.domain.plain_text import escape_control_chars
    from pipeline.errors import InvalidManifest
    from pipeline.manifest.loader import load_manifest
    from pipeline.storage.s3 import Storage

    schema_of = None if offline else ModelCatalog.of(settings(state)).for_checks(print_note)
    try:
        loaded = load_manifest(file, lambda: Storage(settings(state).s3_endpoint), schema_of=schema_of)
        if check_images:
            from pipeline.cli.image_check import check_manifest_images

            check_manifest_images(loaded, settings(state))
    except InvalidManifest as error:
        for problem in error.problems:
            click.echo(escape_control_chars(str(problem)))
        raise SystemExit(error.exit_code) from None
    manifest = loaded.manifest
    click.echo(f"{file}: valid: {manifest.name}, {pluralize(len(manifest.items), 'item')}, {manifest.model}")
