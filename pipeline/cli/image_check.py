"""The check of a manifest's images before it is submitted: progress, warnings and errors at their lines."""

from __future__ import annotations

from dataclasses import replace

import click
from rich.progress import Progress

from pipeline.batches.image_checks import check_images, image_check
from pipeline.cli.terminal import console
from pipeline.domain.plain_text import escape_control_chars
from pipeline.errors import InvalidManifest, Problem
from pipeline.manifest.loader import LoadedManifest
from pipeline.manifest.yaml.decoder import MAX_PROBLEMS
from pipeline.manifest.yaml.document import PathProblem
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage


def check_manifest_images(loaded: LoadedManifest, settings: Settings) -> None:
    """Check the images that have an address; print warnings on stderr. Raises InvalidManifest with all errors."""
    out = console(stderr=True)
    check = image_check(Storage(settings.s3_endpoint), settings.fetch_hosts)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("Checking images")
        problems = check_images(
            loaded.manifest, check, on_progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
    warnings = [PathProblem((one.index, "image"), one.message) for one in problems if one.is_warning]
    errors = [PathProblem((one.index, "image"), one.message) for one in problems if not one.is_warning]
    for problem in _located(loaded, warnings):
        click.echo(escape_control_chars(str(replace(problem, message=f"warning: {problem.message}"))), err=True)
    if errors:
        raise InvalidManifest(_located(loaded, errors))


def _located(loaded: LoadedManifest, problems: list[PathProblem]) -> list[Problem]:
    positions = loaded.positions
    if positions is None:
        return [Problem(loaded.manifest.name, 1, 1, problem.message) for problem in problems[:MAX_PROBLEMS]]
    return positions.locate(problems[:MAX_PROBLEMS])
