"""`validate`: check a manifest."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import check_images_option, settings, state_option


@click.command("validate")
@click.argument("file")
@check_images_option
@state_option
def command(file: str, check_images: bool, state: Path) -> None:
    """Check a manifest and print every error as FILE:LINE:COL: message.

    FILE is a path, - for stdin, or an s3:// URI. Exit code 2 if the manifest has an error.
    """
    from pipeline.cli.terminal import escape_control_chars
    from pipeline.domain.formatting import pluralize
    from pipeline.errors import InvalidManifest
    from pipeline.manifest.loader import load_manifest
    from pipeline.storage.s3 import Storage

    try:
        loaded = load_manifest(file, lambda: Storage(settings(state).s3_endpoint))
        if check_images:
            from pipeline.cli.image_check import check_manifest_images

            check_manifest_images(loaded, settings(state))
    except InvalidManifest as error:
        for problem in error.problems:
            click.echo(escape_control_chars(str(problem)))
        raise SystemExit(error.exit_code) from None
    manifest = loaded.manifest
    click.echo(f"{file}: valid: {manifest.name}, {pluralize(len(manifest.items), 'item')}, {manifest.model}")
