"""`demo`: see it work."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import click

from pipeline.domain.results import results_uri


@click.command("demo")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/demo"),
    show_default=True,
    help="Folder for everything that it keeps.",
)
def command(state: Path) -> None:
    """Run the service with a sandbox in Wiro's place, send the sample manifest through it, show the results.

    Nothing leaves this machine and nothing is paid, whatever is configured.
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
    people = console()
    signal.signal(signal.SIGTERM, _interrupt)
    with running(state, port=None, workers=2, environ=demo.environment(os.environ)) as stack, demo.polled(stack):
        for what, where in stack.places:
            click.echo(f"{what:<7} {where}")
        _use(stack.environment)
        service = Service.connect(stack.settings)
        batch_id = demo.submit(stack, service)
        batch = follow(service.ledger, batch_id, people)
        click.echo()
        print_rows(service.ledger.items.stream(batch_id))
        gallery = demo.download_results(service, batch, state / "results" / batch_id)
        good = demo.ended_as_expected(service, batch_id)
        click.echo(f"\nResults {results_uri(batch)}")
        click.echo(f"Gallery file://{gallery.absolute()}  (open it in a browser)")
        if good:
            click.echo(
                f"{batch.counts['succeeded']} succeeded, {batch.counts['failed']} failed as it should: "
                "blooper is there to show what a failure looks like."
            )
    if not good:
        raise SystemExit(1)
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    click.echo(
        "\nNow with pictures of your own (still in the sandbox, while WIRO_API_KEY is not set):\n"
        f"  {shown} -m pipeline up --state {state}\n"
        "It tells its address: open that in a browser, choose New batch, drop pictures, type what is to happen."
    )


def _use(environment: Mapping[str, str]) -> None:
    """boto3 looks for its variables by itself; it must find these and no others."""
    os.environ.clear()
    os.environ.update(environment)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
