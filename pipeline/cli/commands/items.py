"""`items`: the rows of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import batch_argument, json_option, ledger, state_option, states
from pipeline.domain.states import ItemState

if TYPE_CHECKING:
    from pipeline.domain.model import ItemRow


@click.command("items")
@batch_argument
@click.option(
    "--status", "among", metavar="STATES", callback=states(tuple(ItemState)), help="Only these: failed,unknown"
)
@json_option
@state_option
def command(batch_id: str, among: tuple[str, ...] | None, as_json: bool, state: Path) -> None:
    """The items of a batch, in the order of its manifest."""
    found = ledger(state)
    found.batches.get(batch_id)
    rows = found.items.stream(batch_id, among)
    if as_json:
        _print_documents(rows)
    else:
        print_rows(rows)


def _print_documents(rows: Iterable[ItemRow]) -> None:
    """One JSON array, an item a line; a batch may be longer than memory is wide."""
    from pipeline.domain.results import item_document

    click.echo("[", nl=False)
    between = "\n"
    for row in rows:
        text = json.dumps(item_document(row), ensure_ascii=False).encode("utf-8", "replace")
        click.echo(between.encode() + text, nl=False)
        between = ",\n"
    click.echo("\n]")


def print_rows(rows: Iterable[ItemRow]) -> None:
    """Show items to people."""
    from pipeline.cli import terminal
    from pipeline.domain import formatting

    terminal.print_table(
        terminal.console(),
        ("item", "status", "attempts", "cost", "prompt", "outputs or error"),
        (
            (
                row.id,
                terminal.state(row.status),
                str(row.attempts),
                formatting.dollars(row.cost_usd),
                row.prompt or "",
                " ".join(output.uri for output in row.outputs) or row.error or "",
            )
            for row in rows
        ),
    )
