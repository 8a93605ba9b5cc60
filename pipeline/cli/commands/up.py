"""`up`: run the whole service on this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import data_folder_option

if TYPE_CHECKING:
    from pipeline.local.stack import Stack


@click.command("up")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web process. Default: 8000, or a free one.")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Number of RQ workers.")
@data_folder_option("var")
def command(port: int | None, workers: int, state: Path) -> None:
    """Run the whole service until SIGTERM or Ctrl-C: web, workers, scheduler, listener, as in the Procfile.

    Embedded servers replace what is not configured: Valkey without REDIS_URL, SeaweedFS without PIPELINE_OUTPUT, the
    sandbox without WIRO_API_KEY. Started again with the same --state, the service continues its batches.

    Prints an address that signs a browser in, once, and "Ready" when the service is. Without PIPELINE_API_TOKEN a token
    is made, kept in the file api-token under --state, and only this machine can connect. The file aws.sh there has the
    keys of the embedded S3 server, for the AWS command line.
    """
    from pipeline.local.stack import running
    from pipeline.observability import logging
    from pipeline.shutdown import shutdown_requested

    logging.configure()
    with shutdown_requested() as shutdown, running(state, port=port, workers=workers, environ=os.environ) as stack:
        click.echo(f"Open {stack.address}")
        is_ready = False
        while not shutdown.wait(0.2):
            stack.supervisor.poll()
            if not is_ready and (is_ready := stack.is_ready()):
                click.echo("\n".join(_ready(stack, state)))
        click.echo("Stopping: running jobs finish first.")


def _ready(stack: Stack, state: Path) -> Iterator[str]:
    """Yield the lines that show how to use the service."""
    embedded = f" Embedded: {', '.join(stack.embedded)}." if stack.embedded else ""
    yield f"Ready.{embedded} Data and logs: {state}. Ctrl-C or SIGTERM stops all processes."
    if stack.shell_file:
        file = shlex.quote(os.path.relpath(stack.shell_file))
        yield f"S3 with the AWS command line: . {file} && aws s3 ls {stack.settings.output}"
    yield f"Open {stack.address}"
