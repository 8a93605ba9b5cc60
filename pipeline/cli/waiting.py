"""Ctrl-C while a command waits for a batch: the batch goes on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pipeline.cli.options import DEFAULT_STATE


@contextmanager
def waiting_for(batch_id: str, state: Path) -> Iterator[None]:
    """After a Ctrl-C in the block, print on stderr that the batch goes on and how to follow it."""
    try:
        yield
    except KeyboardInterrupt:
        option = "" if state == DEFAULT_STATE else f" --state {shlex.quote(str(state))}"
        click.echo(
            f"\nOnly this command stops: batch {batch_id} goes on.\n"
            f"Follow it: `dailies watch {batch_id}{option}`. Cancel it: `dailies cancel {batch_id}{option}`.",
            err=True,
        )
        raise
