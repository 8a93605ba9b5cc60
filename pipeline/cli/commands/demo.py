"""`demo`: run the service with a sample batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import click

from pipeline.cli.options import data_folder_option
from pipeline.domain.results import results_uri


@click.command("demo")
@data_folder_option("var/demo")
def command(state: Path) -> None:
    """Run the service with a sandbox in place of Wiro, submit the sample manifest, show the results.

    No request leaves this machine and nothing is paid, whatever is configured.
    """
    import signal

    from pipeline.batches.service import Service
    from pipeline.cli.commands.items import print_rows
    from pipeline.cli.progress import follow
    from pipeline.cli.terminal import console
    from pipeline.local import demo
    from pipeline.local.stack import running
    from pipeline.observability import logging

    logging.configure()
    out = console()
    signal.signal(signal.SIGTERM, _interrupt)
    with running(state, port=None, workers=2, environ=demo.environment(os.environ)) as stack, demo.polled(stack):
        for name, address in stack.places:
            click.echo(f"{name:<7} {address}")
        _replace_environment(stack.environment)
        app = Service.connect(stack.settings)
        batch_id = demo.submit(stack, app)
        batch = follow(app.ledger, batch_id, out)
        click.echo()
        print_rows(app.ledger.items.stream(batch_id))
        gallery = demo.download_results(app, batch, state / "results" / batch_id)
        is_expected = demo.ended_as_expected(app, batch_id)
        click.echo(f"\nResults {results_uri(batch)}")
        click.echo(f"Gallery file://{gallery.absolute()}  (open it in a browser)")
        if is_expected:
            click.echo(
                f"{batch.counts['succeeded']} succeeded, {batch.counts['failed']} failed as expected: "
                "the item blooper shows how a failure looks."
            )
    if not is_expected:
        raise SystemExit(1)
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    click.echo(
        "\nTry it with your own images (in the sandbox, as long as WIRO_API_KEY is not set):\n"
        f"  {shown} -m pipeline up --state {state}\n"
        "Open the address that it prints, choose New batch, drop images, type prompts."
    )


def _replace_environment(environment: Mapping[str, str]) -> None:
    """Replace the process environment: boto3 reads its variables there and must find no others."""
    os.environ.clear()
    os.environ.update(environment)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
