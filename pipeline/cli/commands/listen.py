"""`listen`: batches that start when objects arrive on S3."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import service, state_option


@click.command("listen")
@state_option
def command(state: Path) -> None:
    """List inboxes, poll queues and gather images as triggers.yaml says, until SIGTERM or Ctrl-C.

    Editing the file takes effect within a second; a broken edit is reported, and the last good one stays. With nothing
    to listen to it waits until there is. Any number of listeners may run.
    """
    from pipeline.observability import logging
    from pipeline.shutdown import shutdown_requested
    from pipeline.triggers.listener import Listener

    logging.configure()
    with shutdown_requested() as told:
        Listener.of(service(state)).run(told)
