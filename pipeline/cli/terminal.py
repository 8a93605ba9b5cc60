"""Terminal output: tables and text on a terminal, plain lines elsewhere, JSON for programs.

Text from a manifest or the vendor is never interpreted as markup or as a terminal control sequence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from pipeline.domain.formatting import duration
from pipeline.domain.model import BatchRow
from pipeline.domain.plain_text import escape_control_chars
from pipeline.domain.wording import batch_words, item_words

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
_MAX_CELL = 40
_NOT_PRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text unchanged: no markup, no highlighting."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_note(model: str, reason: str) -> None:
    """Print on stderr why a manifest is not checked against its model's schema."""
    click.echo(escape_control_chars(f"Not checked against the schema of {model}: {reason}"), err=True)


def print_notes(notes: Iterable[str]) -> None:
    """Print the notes about a manifest on stderr, one line each."""
    for note in notes:
        click.echo(escape_control_chars(note), err=True)


def age(when: datetime, now: datetime) -> str:
    """Return the time from `when` to `now`, in words."""
    return duration(max(0, round((now - when).total_seconds())))


def moment(when: datetime, now: datetime) -> str:
    """Return a time in UTC and its age."""
    stamp = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{stamp} ({age(when, now)} ago)"


def counts(by_state: Mapping[str, int]) -> Text:
    """Return the number of items by state, each in its colour."""
    parts = [Text(f"{number:,} {item_words(state)}", _COLOURS.get(state, "")) for state, number in by_state.items()]
    return Text(", ").join(parts)


def item_state(name: str) -> Text:
    """Return the state of an item, in words and in its colour."""
    return Text(escape_control_chars(item_words(name)), _COLOURS.get(name, ""))


def batch_state(batch: BatchRow) -> Text:
    """Return the status of a batch, in words and in its colour."""
    return Text(escape_control_chars(batch_words(batch.status, batch.counts)), _COLOURS.get(batch.status, ""))


def print_table(
    out: Console, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, whole: Collection[str]
) -> None:
    """Print a table on a terminal; elsewhere one line per row, with tabs between the cells.

    `whole`: the columns that are always shown and never cut: ids, addresses and states. On a terminal, texts of other
    columns are cut after 40 characters, and other columns that do not fit its width are left out, from the right.
    """
    if not out.is_terminal:
        for row in chain([columns], rows):
            click.echo(
                "\t".join(cell.plain if isinstance(cell, Text) else escape_control_chars(cell) for cell in row),
                out.file,
            )
        return
    cells = [[Text(name, "bold") for name in columns]]
    cells += [[cell if isinstance(cell, Text) else Text(escape_control_chars(cell)) for cell in row] for row in rows]
    for row in cells:
        for name, cell in zip(columns, row, strict=True):
            if name not in whole:
                cell.truncate(_MAX_CELL, overflow="ellipsis")
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    shown = _fitting(columns, widths, whole, out.width)
    for row in cells:
        for at in shown[:-1]:
            row[at].pad_right(widths[at] - row[at].cell_len)
        # The terminal wraps a line that is too long: an address can then be copied.
        out.print(Text("  ").join(row[at] for at in shown), soft_wrap=True)


def _fitting(columns: Sequence[str], widths: Sequence[int], whole: Collection[str], width: int) -> list[int]:
    """Return the positions of the columns that are shown: without others than `whole` if they do not fit `width`."""
    shown = list(range(len(columns)))
    for at in reversed(range(len(columns))):
        if sum(widths[at] + 2 for at in shown) - 2 > width and columns[at] not in whole:
            shown.remove(at)
    return shown


def print_fields(out: Console, fields: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and values, one pair per line."""
    for name, value in fields:
        out.print(
            Text(f"{name:<10}", "bright_black"), value if isinstance(value, Text) else Text(escape_control_chars(value))
        )


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document on stdout."""
    click.echo(harmless_json(json.dumps(document, ensure_ascii=False, indent=2)).encode("utf-8", "replace"))


def harmless_json(text: str) -> str:
    """Return the same JSON with its control and direction characters written as \\uXXXX."""
    return _NOT_PRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
