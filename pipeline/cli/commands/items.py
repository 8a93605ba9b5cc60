"""`items`: list the items of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import batch_argument, json_option, service, state_option, states
from pipeline.domain.states import ItemState

if TYPE_CHECKING:
    from pipeline.domain.model import ItemRow

_OUTPUTS = "outputs or error"


@click.command("items")
@batch_argument
@click.option(
    "--status",
    "selected",
    metavar="STATES",
    # Before BATCH, which is looked up in the service: a typo is reported without it.
    is_eager=True,
    callback=states(tuple(ItemState)),
    help="Only items in these states, comma-separated: failed,unknown",
)
@json_option
@state_option
def command(batch_id: str, selected: tuple[str, ...] | None, as_json: bool, state: Path) -> None:
    """List the items of a batch in manifest order. Those of an archived batch are read from S3."""
    app = service(state)
    rows = app.items.stream(app.ledger.batches.get(batch_id), selected)
    if as_json:
        _print_documents(rows)
    else:
        print_rows(rows)


def _print_documents(rows: Iterable[ItemRow]) -> None:
    """Print one JSON array, one item per line, without holding the whole batch in memory."""
    from pipeline.batches.json_documents import Item
    from pipeline.cli.terminal import harmless_json

    click.echo("[", nl=False)
    separator = "\n"
    for row in rows:
        text = harmless_json(json.dumps(Item.of(row).as_json(), ensure_ascii=False)).encode("utf-8", "replace")
        click.echo(separator.encode() + text, nl=False)
        separator = ",\n"
    click.echo("\n]")


def _outcome(row: ItemRow) -> str:
    uris = " ".join(output.uri for output in row.outputs)
    return f"{uris} (reused from {row.reused_from})" if row.reused_from else uris or row.error or ""


def print_rows(rows: Iterable[ItemRow]) -> None:
    """Print items as a table."""
    from pipeline.cli import terminal
    from pipeline.domain import formatting

    terminal.print_table(
        terminal.console(),
        ("item", "status", "attempts", "cost", "prompt", _OUTPUTS),
        (
            (
                row.id,
                terminal.item_state(row.status),
                str(row.attempts),
                formatting.dollars(row.cost_usd),
                row.prompt or "",
                _outcome(row),
            )
            for row in rows
        ),
        whole=("item", "status", _OUTPUTS),
    )
