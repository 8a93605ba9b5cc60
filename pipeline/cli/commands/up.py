"""`up`: the whole service on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("up")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web side. Default: 8000, or a free one.")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="RQ workers.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var"),
    show_default=True,
    help="Folder for everything that it keeps.",
)
def command(port: int | None, workers: int, state: Path) -> None:
    """Run the whole service until SIGTERM or Ctrl-C: web, workers, scheduler, listener, as in the Procfile.

    Embedded servers stand in for what is not configured: Valkey without REDIS_URL, SeaweedFS without
    PIPELINE_OUTPUT, the sandbox without WIRO_API_KEY. Started again on the same --state it goes on where it was.
    """
    from pipeline.local.stack import running
    from pipeline.observability import logging
    from pipeline.shutdown import shutdown_requested

    logging.configure()
    with shutdown_requested() as told, running(state, port=port, workers=workers, environ=os.environ) as stack:
        for what, where in stack.places:
            click.echo(f"{what:<7} {where}")
        click.echo("Ready when /readyz says so. Ctrl-C or SIGTERM stops everything.")
        while not told.wait(0.2):
            stack.supervisor.poll()
        click.echo("Stopping: what is at work is let finish.")
