"""`listen`: start batches when objects are created on S3."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import service, state_option


@click.command("listen")
@state_option
def command(state: Path) -> None:
    """List prefixes, poll queues and gather images as triggers.yaml defines, until SIGTERM or Ctrl-C.

    A change of the file takes effect within a second. If the changed file is invalid, the error is logged and the
    previous rules stay in force. Several listeners can run at the same time.
    """
    from pipeline.observability import logging
    from pipeline.shutdown import shutdown_requested
    from pipeline.triggers.listener import Listener

    logging.configure()
    with shutdown_requested() as shutdown:
        Listener.of(service(state)).run(shutdown)
