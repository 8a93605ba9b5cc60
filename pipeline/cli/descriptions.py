"""Batches and the account in words: what `status`, `list` and others print for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from rich.console import Console
from rich.text import Text

from pipeline.cli.terminal import age, counts, ended_items, moment, print_fields, print_table, state
from pipeline.domain.formatting import dollars, pluralize
from pipeline.domain.model import BatchRow
from pipeline.domain.results import RESULTS, timestamp
from pipeline.domain.states import BATCH_TERMINAL, ItemState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import AccountRow

_MAX_HELD = 5


def account_document(account: AccountRow) -> dict[str, Any]:
    """The account, for programs. `window` null: as many runs at a time as we like."""
    return {
        "active": account.active,
        "window": account.concurrency_limit,
        "paused": account.paused_reason,
        "backoff_until": timestamp(account.backoff_until),
        "trouble": account.backoff_reason,
    }


def print_account(out: Console, account: AccountRow) -> None:
    """The account, for people."""
    concurrency_limit = (
        "" if account.concurrency_limit is None else f", the vendor allows {account.concurrency_limit:,}"
    )
    print_fields(out, [("account", f"{pluralize(account.active, 'run')} active{concurrency_limit}")])
    print_account_trouble(out, account)


def print_account_trouble(out: Console, account: AccountRow) -> None:
    """Why nothing is submitted just now, if so."""
    if account.paused_reason:
        out.print(Text(f"The account is paused, nothing is submitted: {account.paused_reason}", "yellow"))
        out.print("`dailies resume` goes on.")
    elif account.backoff_until and account.backoff_until > datetime.now(UTC):
        print_fields(out, [("waiting", f"until {timestamp(account.backoff_until)}: {account.backoff_reason or ''}")])


def print_batches(out: Console, rows: Sequence[BatchRow]) -> None:
    """Batches as a table."""
    if not rows:
        out.print("There are no batches yet: `dailies submit FILE` makes one.")
        return
    now = datetime.now(UTC)
    print_table(
        out,
        ("batch", "status", "ended", "items", "cost", "age"),
        (
            (
                row.id,
                state(row.status),
                f"{ended_items(row):,}/{row.total:,}",
                counts(row.counts),
                dollars(row.cost_usd),
                age(row.created, now),
            )
            for row in rows
        ),
    )


def print_batch(out: Console, ledger: Ledger, row: BatchRow) -> None:
    """All about a batch, and what a person can do."""
    now = datetime.now(UTC)
    ended = row.status in BATCH_TERMINAL
    fields: list[tuple[str, str | Text]] = [
        ("batch", row.id),
        ("name", row.name),
        ("model", row.model),
        ("status", state(row.status)),
        ("items", Text(f"{ended_items(row):,} of {row.total:,} ended: ").append_text(counts(row.counts))),
        ("cost", dollars(row.cost_usd)),
        ("created", f"{moment(row.created, now)} by {row.trigger}"),
    ]
    if row.finished:
        took = age(row.created, row.finished)
        fields.append(("finished", f"{moment(row.finished, now)}, after {took}"))
    if row.reason:
        fields.append(("reason", row.reason))
    fields.append(("results", f"{row.output}{RESULTS}" if ended else f"{row.output} (written when it ends)"))
    print_fields(out, fields)
    if row.status == "paused":
        out.print(f"It is paused: `dailies resume {row.id}` goes on.")
    if row.counts.get(ItemState.FAILED):
        out.print(f"`dailies items {row.id} --status failed` says why; `dailies retry {row.id}` tries them again.")
    if row.counts.get(ItemState.UNKNOWN):
        _print_unknown(out, ledger, row)


def _print_unknown(out: Console, ledger: Ledger, row: BatchRow) -> None:
    """Items whose run may or may not exist: those still waited for, and those that wait for a person."""
    known = islice(ledger.items.stream(row.id, {ItemState.UNKNOWN}), _MAX_HELD)
    held = [item.id for item in known if item.error]
    if not held:
        out.print("Unknown: the answer to the run was lost. Its callback is waited for.")
        return
    more = ", …" if row.counts[ItemState.UNKNOWN] > len(held) else ""
    out.print(
        f"Unknown: {', '.join(held)}{more}. The answer to the run was lost and no callback came: the vendor may "
        "have made and billed it."
    )
    out.print(f"Look at the vendor's list of tasks. `dailies retry {row.id} --status unknown` runs them again.")
