"""Terminal output shows text unchanged: no markup, no control sequences."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from pipeline.cli import terminal
from pipeline.domain.plain_text import escape_control_chars


def a_console(*, on_terminal: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=on_terminal, width=60, markup=False, highlight=False, color_system=None
    )


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a face [bold]smiles[/]", "a face [bold]smiles[/]"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("one\ntwo\tthree", "one\\ntwo\\tthree"),
        ("\u202eevil", "\\u202eevil"),
        ("broken \ud800", "broken \\ud800"),
        ("深い 👩\u200d🚀", "深い 👩\u200d🚀"),
    ],
)
def test_control_and_direction_characters_are_escaped(text: str, shown: str) -> None:
    assert escape_control_chars(text) == shown


@pytest.mark.parametrize("on_terminal", [True, False])
def test_markup_in_a_prompt_is_not_interpreted(on_terminal: bool) -> None:
    console = a_console(on_terminal=on_terminal)
    terminal.print_table(console, ("prompt",), [("[red]a[/red] \\[b] :smile: \x1b]0;title\x07",)], whole=("prompt",))
    assert "[red]a[/red] \\[b] :smile: \\x1b]0;title\\x07" in written(console)


def test_a_table_outside_a_terminal_is_one_line_per_row_with_tabs() -> None:
    console = a_console(on_terminal=False)
    terminal.print_table(
        console,
        ("id", "prompt"),
        [("a", "long " * 100), ("b", "x\ty"), ("c", terminal.item_state("failed"))],
        whole=("id",),
    )
    assert written(console).splitlines() == ["id\tprompt", "a\t" + "long " * 100, "b\tx\\ty", "c\tfailed"]


def test_a_moment_includes_its_age() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert terminal.moment(now - timedelta(minutes=2), now) == "2026-01-02 03:02:05 UTC (2 min ago)"


def test_ids_and_addresses_are_never_cut_and_other_columns_give_way() -> None:
    console = a_console(on_terminal=True)
    address = "s3://bucket/summer-campaign-2026/items/woman-1/0.mp4"
    rows = [("summer-campaign-2026-20261126", "a prompt " * 20, "$0.09", address)]
    terminal.print_table(console, ("item", "prompt", "cost", "output"), rows, whole=("item", "output"))
    header, row = written(console).splitlines()
    assert row.split() == ["summer-campaign-2026-20261126", address]
    assert header.split() == ["item", "output"]


def test_where_there_is_room_all_columns_are_shown_and_long_texts_are_cut() -> None:
    console = a_console(on_terminal=True)
    terminal.print_table(console, ("item", "prompt"), [("woman-1", "a prompt " * 20)], whole=("item",))
    row = written(console).splitlines()[1]
    assert row.startswith("woman-1  a prompt a prompt")
    assert row.rstrip().endswith("…")
