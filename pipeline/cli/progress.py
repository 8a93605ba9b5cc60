"""A batch on its way, live: counts by state, cost, speed, time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.cli.terminal import counts, ended_items, escape_control_chars, state
from pipeline.domain.formatting import dollars, duration
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.domain.throughput import Throughput
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import AccountRow

_POLL_INTERVAL_S = 0.5
_LINE_EVERY_S = 5.0
_RETRY_TIMEOUT_S = 120.0
"""For so long Redis may be away while a batch is followed."""


@dataclass(frozen=True)
class View:
    """A batch at one moment."""

    batch: BatchRow
    account: AccountRow
    per_minute: float | None
    left_s: float | None


def follow(ledger: Ledger, batch_id: str, out: Console) -> BatchRow:
    """Show a batch on `out` until it ends: moving on a terminal, else a line whenever something has changed.

    Raises NoSuchBatch; Unreachable once Redis has been away for two minutes.
    """
    throughput = Throughput()
    view = _look(ledger, batch_id, throughput)
    with _screen(out) as screen:
        while view.batch.status not in BATCH_TERMINAL:
            screen.show(view)
            time.sleep(_POLL_INTERVAL_S)
            view = _read_with_retries(ledger, batch_id, throughput)
        screen.close(view)
    return view.batch


def _look(ledger: Ledger, batch_id: str, throughput: Throughput) -> View:
    batch, account = ledger.batches.get(batch_id), ledger.account.get()
    now, ended = time.monotonic(), ended_items(batch)
    throughput.note(now, ended)
    return View(batch, account, throughput.per_minute(now), throughput.left_s(now, batch.total - ended))


def _read_with_retries(ledger: Ledger, batch_id: str, throughput: Throughput) -> View:
    ends = time.monotonic() + _RETRY_TIMEOUT_S
    while True:
        try:
            return _look(ledger, batch_id, throughput)
        except Unreachable:
            if time.monotonic() > ends:
                raise
            time.sleep(_POLL_INTERVAL_S)


class _Screen(Protocol):
    def show(self, view: View) -> None: ...

    def close(self, view: View) -> None: ...


@contextmanager
def _screen(out: Console) -> Iterator[_Screen]:
    if not out.is_terminal:
        yield _Lines(out)
        return
    with Live(console=out, auto_refresh=False) as live:
        yield _Picture(live)


class _Picture:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, view: View) -> None:
        self._live.update(_picture(view), refresh=True)

    def close(self, view: View) -> None:
        self.show(view)


class _Lines:
    def __init__(self, out: Console) -> None:
        self._out = out
        self._said = ""
        self._next_s = 0.0

    def show(self, view: View) -> None:
        if time.monotonic() >= self._next_s:
            self.close(view)

    def close(self, view: View) -> None:
        said = f"{view.batch.status} {view.batch.counts} {_notes(view)}"
        if said != self._said:
            self._said = said
            self._next_s = time.monotonic() + _LINE_EVERY_S
            self._out.print(_line(view))


def _picture(view: View) -> RenderableType:
    batch = view.batch
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        Text(batch.id, "bold"),
        state(batch.status),
        ProgressBar(
            total=max(batch.total, 1),
            completed=ended_items(batch),
            width=30,
            complete_style="cyan",
            finished_style="green",
        ),
        _share(view),
    )
    return Group(grid, Text("  ").append_text(_figures(view)), *_notes(view))


def _line(view: View) -> Text:
    line = Text(f"{view.batch.id} {view.batch.status} {_share(view)}: ").append_text(_figures(view))
    for note in _notes(view):
        line.append("; ").append_text(note)
    return line


def _figures(view: View) -> Text:
    parts = [counts(view.batch.counts), Text(dollars(view.batch.cost_usd))]
    if view.per_minute:
        parts.append(Text(f"{view.per_minute:.1f}/min"))
    if view.left_s:
        parts.append(Text(f"{duration(round(view.left_s))} left"))
    return Text(" · ").join(part for part in parts if part)


def _notes(view: View) -> list[Text]:
    account = view.account
    if view.batch.status in BATCH_TERMINAL:
        return [Text(escape_control_chars(view.batch.reason), "yellow")] if view.batch.reason else []
    if account.paused_reason:
        return [
            Text(
                f"The account is paused: {escape_control_chars(account.paused_reason)} `dailies resume` goes on.",
                "yellow",
            )
        ]
    if account.backoff_reason and account.backoff_until and account.backoff_until > datetime.now(UTC):
        return [Text(f"Waiting: {escape_control_chars(account.backoff_reason)}", "yellow")]
    return [Text(escape_control_chars(view.batch.reason), "yellow")] if view.batch.reason else []


def _share(view: View) -> str:
    return f"{ended_items(view.batch):,}/{view.batch.total:,}"
