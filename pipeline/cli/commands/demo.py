"""`demo`: run the service with a sample batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import data_folder_option
from pipeline.domain.results import results_uri

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.domain.model import BatchRow
    from pipeline.local.stack import Stack

_NEXT = """
Try it with your own images (in the sandbox, as long as WIRO_API_KEY is not set):
  {python} -m pipeline up --state {state}
Open the address that it prints, choose New batch, drop images, type prompts. While it runs:
  {python} -m pipeline open {batch} --state {state}   (the page of this batch)
  {python} -m pipeline pull {batch} --state {state}   (its videos, into a folder here)"""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the service running afterwards, until SIGTERM or Ctrl-C.")
@data_folder_option("var/demo")
def command(keep: bool, state: Path) -> None:
    """Run the service with a sandbox in place of Wiro, submit the sample manifest, show the results.

    No request leaves this machine and nothing is paid, whatever is configured.
    """
    import signal

    from pipeline.cli.next_steps import next_steps
    from pipeline.cli.terminal import console, print_fields
    from pipeline.local import demo
    from pipeline.local.stack import running
    from pipeline.observability import logging

    logging.configure()
    out = console()
    signal.signal(signal.SIGTERM, _interrupt)
    with running(state, port=None, workers=2, environ=demo.environment(os.environ)) as stack, demo.polled(stack):
        click.echo(f"Open    {stack.address}")
        batch, is_expected = _run_sample(stack, state, out)
        if keep:
            print_fields(out, next_steps(stack.settings, batch, state))
            _wait(stack.address)
    if not is_expected:
        raise SystemExit(1)
    if not keep:
        click.echo(_NEXT.format(python=_shown_python(), state=state, batch=batch.id))


def _run_sample(stack: Stack, state: Path, out: Console) -> tuple[BatchRow, bool]:
    """Run the sample batch and show its results. Return the batch, and whether it ended as expected."""
    from pipeline.batches.service import Service
    from pipeline.cli.commands.items import print_rows
    from pipeline.cli.progress import follow
    from pipeline.local import demo
    from pipeline.local.batch_folder import BatchFolder

    _replace_environment(stack.environment)
    app = Service.connect(stack.settings)
    batch_id = demo.submit(stack, app)
    batch = follow(app.ledger, batch_id, out)
    click.echo()
    print_rows(app.ledger.items.stream(batch_id))
    local = BatchFolder(app.storage, app.items, batch, state / "results" / batch_id)
    local.pull(local.files())
    is_expected = demo.ended_as_expected(app, batch_id)
    click.echo(f"\nResults {results_uri(batch)}")
    click.echo(f"Gallery {local.gallery.absolute().as_uri()}  (open it in a browser)")
    if is_expected:
        click.echo(
            f"{batch.counts['succeeded']} succeeded, {batch.counts['failed']} failed as expected: "
            "the item blooper shows how a failure looks."
        )
    return batch, is_expected


def _wait(address: str) -> None:
    """Wait for SIGTERM or Ctrl-C."""
    from pipeline.shutdown import shutdown_requested

    with shutdown_requested() as shutdown:
        click.echo(f"Open    {address}\nThe service keeps running. Ctrl-C or SIGTERM stops it.")
        shutdown.wait()


def _shown_python() -> Path:
    """Return the path of this Python as the user types it."""
    python = Path(sys.executable)
    return python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python


def _replace_environment(environment: Mapping[str, str]) -> None:
    """Replace the process environment: boto3 reads its variables there and must find no others."""
    os.environ.clear()
    os.environ.update(environment)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
