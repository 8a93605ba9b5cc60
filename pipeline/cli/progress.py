"""Live progress of a batch: counts by state, cost, throughput, remaining time."""

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

from pipeline.batches.progress import Progress, read_progress
from pipeline.cli.terminal import batch_state, counts
from pipeline.domain.formatting import dollars, time_left
from pipeline.domain.model import BatchRow
from pipeline.domain.plain_text import escape_control_chars
from pipeline.domain.states import BATCH_TERMINAL, ItemState, ended_count
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import AccountRow

_POLL_INTERVAL_S = 0.5
_LINE_INTERVAL_S = 5.0
_RETRY_TIMEOUT_S = 120.0
"""How long Redis may be unreachable while a batch is followed, in seconds."""


@dataclass(frozen=True)
class Snapshot:
    """A batch at one moment."""

    batch: BatchRow
    account: AccountRow
    progress: Progress


def follow(ledger: Ledger, batch_id: str, out: Console) -> BatchRow:
    """Show a batch on `out` until it ends: a live display on a terminal, else a line for each change.

    Raises NoSuchBatch; Unreachable after Redis has been unreachable for two minutes.
    """
    snapshot = _read(ledger, batch_id)
    with _display(out) as display:
        while snapshot.batch.status not in BATCH_TERMINAL:
            display.show(snapshot)
            time.sleep(_POLL_INTERVAL_S)
            snapshot = _read_with_retries(ledger, batch_id)
        display.close(snapshot)
    return snapshot.batch


def _read(ledger: Ledger, batch_id: str) -> Snapshot:
    batch, account = ledger.batches.get(batch_id), ledger.account.get()
    return Snapshot(batch, account, read_progress(ledger, batch, account, datetime.now(UTC)))


def _read_with_retries(ledger: Ledger, batch_id: str) -> Snapshot:
    deadline = time.monotonic() + _RETRY_TIMEOUT_S
    while True:
        try:
            return _read(ledger, batch_id)
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_INTERVAL_S)


class _Display(Protocol):
    def show(self, snapshot: Snapshot) -> None: ...

    def close(self, snapshot: Snapshot) -> None: ...


@contextmanager
def _display(out: Console) -> Iterator[_Display]:
    if not out.is_terminal:
        yield _LineDisplay(out)
        return
    with Live(console=out, auto_refresh=False) as live:
        yield _LiveDisplay(live)


class _LiveDisplay:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, snapshot: Snapshot) -> None:
        self._live.update(_panel(snapshot), refresh=True)

    def close(self, snapshot: Snapshot) -> None:
        self.show(snapshot)


class _LineDisplay:
    def __init__(self, out: Console) -> None:
        self._out = out
        self._printed = ""
        self._next_s = 0.0

    def show(self, snapshot: Snapshot) -> None:
        if time.monotonic() >= self._next_s:
            self.close(snapshot)

    def close(self, snapshot: Snapshot) -> None:
        content = f"{snapshot.batch.status} {snapshot.batch.counts} {_notices(snapshot)}"
        if content != self._printed:
            self._printed = content
            self._next_s = time.monotonic() + _LINE_INTERVAL_S
            self._out.print(_line(snapshot))


def _panel(snapshot: Snapshot) -> RenderableType:
    batch = snapshot.batch
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        batch_state(batch),
        ProgressBar(
            total=max(batch.total, 1),
            completed=ended_count(batch.counts),
            width=30,
            complete_style="cyan",
            finished_style="green",
        ),
        _ended_of_total(batch),
    )
    # On a line of its own: a cell of the grid would be cut.
    return Group(Text(batch.id, "bold"), grid, Text("  ").append_text(_figures(snapshot)), *_notices(snapshot))


def _line(snapshot: Snapshot) -> Text:
    batch = snapshot.batch
    line = Text.assemble(f"{batch.id} ", batch_state(batch).plain, f" {_ended_of_total(batch)}: ").append_text(
        _figures(snapshot)
    )
    for notice in _notices(snapshot):
        line.append("; ").append_text(notice)
    return line


def _figures(snapshot: Snapshot) -> Text:
    parts = [counts(snapshot.batch.counts), Text(dollars(snapshot.batch.cost_usd))]
    if snapshot.batch.reused:
        parts.insert(1, Text(f"{snapshot.batch.reused:,} reused"))
    progress = snapshot.progress
    if progress.per_minute:
        parts.append(Text(f"{progress.per_minute:.1f}/min"))
    if progress.remaining_s is not None:
        parts.append(Text(f"{time_left(progress.remaining_s)}{' left' if progress.remaining_s > 0 else ''}"))
    return Text(" · ").join(part for part in parts if part)


def _notices(snapshot: Snapshot) -> list[Text]:
    notice = _notice(snapshot.batch, snapshot.account)
    return [Text(notice, "yellow")] if notice else []


def _notice(batch: BatchRow, account: AccountRow) -> str:
    """Return why nothing is submitted, or why the batch has stopped; '' if neither applies."""
    if not batch.is_accepted and batch.status not in BATCH_TERMINAL:
        return "Its submission is not complete."
    if batch.status not in BATCH_TERMINAL:
        if account.paused_reason:
            reason = escape_control_chars(account.paused_reason)
            return f"The account is paused: {reason} Resume it: `dailies resume`."
        if account.backoff_reason and account.backoff_until and account.backoff_until > datetime.now(UTC):
            return f"Backoff: {escape_control_chars(account.backoff_reason)}"
        if account.day_notice and batch.counts.get(ItemState.PENDING):
            return account.day_notice
    return escape_control_chars(batch.reason or "")


def _ended_of_total(batch: BatchRow) -> str:
    return f"{ended_count(batch.counts):,}/{batch.total:,}"
