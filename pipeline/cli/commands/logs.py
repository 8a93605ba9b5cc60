"""`logs`: follow the vendor's messages about a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import batch_argument, item_argument, ledger, settings, state_option
from pipeline.errors import DailiesError

if TYPE_CHECKING:
    from pipeline.wiro.client import Wiro
    from pipeline.wiro.progress_message import ProgressMessage

_SILENCE_S = 30.0
"""After so many seconds without a message the task's status is requested."""
_MAX_SILENT_POLLS = 20
_RETRY_DELAY_S = 2.0


class NoRunYet(DailiesError):
    """The item has no run at the vendor yet."""


@click.command("logs")
@batch_argument
@item_argument
@state_option
def command(batch_id: str, item_id: str, state: Path) -> None:
    """Print the vendor's messages about an item's latest run, from now until the run ends."""
    from pipeline.domain.plain_text import escape_control_chars
    from pipeline.wiro.client import Wiro

    run = ledger(state).items.run_of(batch_id, item_id)
    if run is None:
        raise NoRunYet(f"There is no run of {item_id!r} yet. Show its state: `dailies items {batch_id}`.")
    click.echo(escape_control_chars(f"run {run.task_id}, attempt {run.attempt}"))
    for line in _lines(Wiro.from_settings(settings(state)), run.token, run.task_id):
        click.echo(escape_control_chars(line))


def _lines(wiro: Wiro, token: str, task_id: str) -> Iterator[str]:
    """Yield messages until the run ends. The status is requested first: an ended run sends no message."""
    from pipeline.wiro.errors import NoResponse

    for _ in range(_MAX_SILENT_POLLS):
        task = wiro.task(token=token, task_id=task_id)
        if task.ended:
            yield f"{task.status}: {'succeeded' if task.succeeded else task.failure_reason}"
            return
        try:
            for message in wiro.progress(token, silence_s=_SILENCE_S):
                yield _line(message)
                if message.ended:
                    return
        except NoResponse:
            time.sleep(_RETRY_DELAY_S)
    minutes = _MAX_SILENT_POLLS * _SILENCE_S / 60
    yield f"No messages for {minutes:.0f} minutes: stopped following."


def _line(message: ProgressMessage) -> str:
    parts = [message.status, message.text]
    if message.percentage is not None:
        parts.append(f"{message.percentage:.0f} %")
    if message.steps:
        parts.append(f"step {message.step} of {message.steps}")
    if message.remaining_s is not None:
        parts.append(f"{message.remaining_s:.0f} s left")
    parts += [output.name for output in message.outputs]
    return "  ".join(part for part in parts if part)
