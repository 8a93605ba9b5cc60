"""Progress of `pull` on stderr: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.cli.terminal import console
from pipeline.domain.formatting import pluralize

_LINE_INTERVAL_S = 5.0


class PullProgress(Protocol):
    """Gets what has been copied. `add_bytes` is called from several threads."""

    def add_bytes(self, size: int) -> None: ...

    def add_file(self) -> None: ...


@contextmanager
def pull_progress(files: int) -> Iterator[PullProgress]:
    """Show the progress of `files` files."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield _Lines(files)
        return
    columns = (BarColumn(30), MofNCompleteColumn(), TextColumn("files"), TextColumn("{task.fields[copied]}"))
    with Progress(*columns, TimeRemainingColumn(), console=out, transient=True) as bar:
        yield _Bar(bar, bar.add_task("", total=files, copied=""))


class _Bar:
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._bytes = 0

    def add_bytes(self, size: int) -> None:
        self._bytes += size
        self._bar.update(self._task, copied=decimal(self._bytes))

    def add_file(self) -> None:
        self._bar.advance(self._task)


class _Lines:
    def __init__(self, files: int) -> None:
        self._files = files
        self._bytes = 0
        self._done = 0
        self._next_s = time.monotonic() + _LINE_INTERVAL_S

    def add_bytes(self, size: int) -> None:
        self._bytes += size

    def add_file(self) -> None:
        self._done += 1
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LINE_INTERVAL_S
            click.echo(f"{self._done:,} of {pluralize(self._files, 'file')}, {decimal(self._bytes)}", err=True)
