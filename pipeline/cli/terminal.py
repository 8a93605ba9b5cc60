"""How things are shown to people: tables and text on a terminal, plain lines elsewhere, JSON for programs.

Nothing that comes from a manifest or a vendor is taken for markup or for a terminal's control sequence.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.domain.formatting import duration
from pipeline.domain.model import BatchRow
from pipeline.domain.states import TERMINAL

_COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "unknown": "magenta",
    "partial": "yellow",
    "paused": "yellow",
    "cancelled": "bright_black",
    "cancelling": "yellow",
    "running": "cyan",
    "collecting": "cyan",
    "submitting": "cyan",
}
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = {"\u200d", "\u200c"}
"""Emoji and some scripts need these two."""


def console(*, stderr: bool = False) -> Console:
    """Where people read. Text is shown as it is: no markup, no guessed colours."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def escape_control_chars(text: str) -> str:
    """`text` on one line, with control, direction and broken characters spelled out."""
    return "".join(_spelled(char) for char in text)


def _spelled(char: str) -> str:
    if unicodedata.category(char) not in _INVISIBLE or char in _JOINERS:
        return char
    return char.encode("unicode_escape", "backslashreplace").decode()


def age(when: datetime, now: datetime) -> str:
    """How long ago something was."""
    return duration(max(0, round((now - when).total_seconds())))


def moment(when: datetime, now: datetime) -> str:
    """A time for people, and how long ago it was."""
    stamp = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{stamp} ({age(when, now)} ago)"


def ended_items(batch: BatchRow) -> int:
    """How many items of a batch have ended."""
    return sum(number for name, number in batch.counts.items() if name in TERMINAL)


def counts(by_state: Mapping[str, int]) -> Text:
    """Items by state, each in its colour."""
    parts = [Text(f"{number:,} {state}", _COLOURS.get(state, "")) for state, number in by_state.items()]
    return Text(", ").join(parts)


def state(name: str) -> Text:
    """A state in its colour."""
    return Text(name, _COLOURS.get(name, ""))


def print_table(out: Console, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """A table on a terminal; elsewhere a line a row, with tabs between the cells."""
    if not out.is_terminal:
        for row in chain([columns], rows):
            click.echo(
                "\t".join(cell.plain if isinstance(cell, Text) else escape_control_chars(cell) for cell in row),
                out.file,
            )
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(escape_control_chars(cell)) for cell in row))
    out.print(table, soft_wrap=False)


def print_fields(out: Console, fields: Iterable[tuple[str, str | Text]]) -> None:
    """Names and values, one a line."""
    for name, value in fields:
        out.print(
            Text(f"{name:<10}", "bright_black"), value if isinstance(value, Text) else Text(escape_control_chars(value))
        )


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2).encode("utf-8", "replace"))
