"""Descriptions of batches and the account for people: the text that `status`, `list` and `watch` print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from rich.console import Console
from rich.text import Text

from pipeline.cli.terminal import age, batch_state, counts, moment, print_fields, print_table
from pipeline.domain.failure_groups import FailureGroup, failure_groups
from pipeline.domain.formatting import dollars, duration, pluralize
from pipeline.domain.model import BatchRow
from pipeline.domain.plain_text import escape_control_chars
from pipeline.domain.results import RESULTS, timestamp
from pipeline.domain.states import BATCH_TERMINAL, BatchState, ItemState, ended_count
from pipeline.domain.wording import PARALLEL_RUNS
from pipeline.ledger.items import ItemStore
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import AccountRow, SubmissionRow
from pipeline.ledger.set_aside import SetAside

_MAX_UNKNOWN_SHOWN = 5
_MAX_CAUSES_SHOWN = 10
_MAX_SET_ASIDE_SHOWN = 5


def print_account(out: Console, account: AccountRow) -> None:
    """Print the state of the account."""
    limit = "" if account.concurrency_limit is None else f", {account.concurrency_limit:,} {PARALLEL_RUNS}"
    print_fields(out, [("account", f"{pluralize(account.active, 'run')} active{limit}")])
    if account.day_limit_usd is not None:
        print_fields(out, [("today", f"{dollars(account.day_spend_usd)} of {dollars(account.day_limit_usd)} spent")])
    print_account_notice(out, account)


def print_account_notice(out: Console, account: AccountRow) -> None:
    """Print why nothing is submitted: the account is paused, backs off, or has reached the ceiling of the day."""
    if account.day_notice:
        out.print(Text(account.day_notice, "yellow"))
    if account.paused_reason:
        reason = escape_control_chars(account.paused_reason)
        out.print(Text(f"The account is paused, nothing is submitted: {reason}", "yellow"))
        out.print("Resume it: `dailies resume`.")
    elif account.backoff_until and account.backoff_until > datetime.now(UTC):
        print_fields(out, [("backoff", f"until {timestamp(account.backoff_until)}: {account.backoff_reason or ''}")])


def print_set_aside(out: Console, number: int) -> None:
    """Print how many records in queues could not be read, if there are any."""
    if number:
        out.print(Text(f"{pluralize(number, 'record')} in Redis could not be read: `dailies doctor`.", "yellow"))


def print_batches(out: Console, rows: Sequence[BatchRow]) -> None:
    """Print batches as a table."""
    if not rows:
        out.print("There are no batches yet. Create one: `dailies submit FILE`.")
        return
    now = datetime.now(UTC)
    print_table(
        out,
        ("batch", "status", "ended", "items", "cost", "age"),
        (
            (
                row.id,
                batch_state(row),
                f"{ended_count(row.counts):,}/{row.total:,}",
                counts(row.counts),
                dollars(row.cost_usd),
                age(row.created, now),
            )
            for row in rows
        ),
        whole=("batch", "status"),
    )


def print_batch(out: Console, ledger: Ledger, row: BatchRow) -> None:
    """Print a batch, the causes of its failures, and the commands that apply to its state."""
    print_fields(out, _batch_fields(row, datetime.now(UTC)))
    if failed := row.counts.get(ItemState.FAILED):
        print_fields(out, _failure_fields(failure_groups(ledger.queries.failure_causes(row.id), failed)))
    if not row.is_accepted and row.status not in BATCH_TERMINAL:
        out.print(Text(_submission_notice(row, ledger.batches.submission(row.id)), "yellow"))
    _print_set_aside_of(out, ledger.set_aside.of_batch(row.id))
    if row.status == BatchState.PAUSED:
        out.print(f"The batch is paused. Resume it: `dailies resume {row.id}`.")
    if row.counts.get(ItemState.FAILED):
        out.print(f"Show the errors: `dailies items {row.id} --status failed`. Retry: `dailies retry {row.id}`.")
    if row.archived:
        out.print(
            f"The items are read from S3: `dailies items {row.id}`. A retry, or `dailies recover {row.output}`, loads "
            "them into Redis again."
        )
    elif row.counts.get(ItemState.UNKNOWN):
        _print_unknown(out, ledger.items, row)
        _print_list_problem(out, ledger.lost_runs.problem())


def _submission_notice(row: BatchRow, submission: SubmissionRow | None) -> str:
    if submission and not submission.manifest_digest:
        return f"Its recovery is going on, or was interrupted. If nothing changes: `dailies recover {row.output}`."
    return (
        "Its submission is going on, or was interrupted: nothing is started. If nothing changes, submit it again with "
        f"`--batch-id {row.id}`, or cancel it: `dailies cancel {row.id}`."
    )


def _print_set_aside_of(out: Console, records: Sequence[SetAside]) -> None:
    """Print which records of a batch could not be read."""
    if records:
        names = list(dict.fromkeys(one.member for one in records))
        more = ", …" if len(names) > _MAX_SET_ASIDE_SHOWN else ""
        shown = ", ".join(map(repr, names[:_MAX_SET_ASIDE_SHOWN]))
        text = f"{pluralize(len(names), 'record')} of this batch could not be read and was set aside: {shown}{more}."
        out.print(Text(f"{text} The rest goes on. `dailies doctor` shows what to do.", "yellow"))


def _batch_fields(row: BatchRow, now: datetime) -> list[tuple[str, str | Text]]:
    fields: list[tuple[str, str | Text]] = [
        ("batch", row.id),
        ("name", row.name),
        ("model", row.model),
        ("status", batch_state(row)),
        ("items", Text(f"{ended_count(row.counts):,} of {row.total:,} ended: ").append_text(counts(row.counts))),
        ("cost", dollars(row.cost_usd)),
        ("created", f"{moment(row.created, now)} by {row.trigger}"),
    ]
    if row.finished:
        fields.append(("finished", f"{moment(row.finished, now)}, took {duration(round(row.working_s(now)))}"))
    if row.archived:
        fields.append(("archived", moment(row.archived, now)))
    if row.reason:
        fields.append(("reason", row.reason))
    if row.overcharge and row.overcharge != row.reason:
        fields.append(("warning", Text(row.overcharge, "yellow")))
    if row.reused:
        fields.append(("reused", f"{pluralize(row.reused, 'item')} (outputs of earlier batches, not bought again)"))
    if row.found:
        found = ", ".join(f"{number:,} by {by}" for by, number in row.found.items())
        fields.append(("found", f"{found} (runs whose response was lost)"))
    if not row.is_accepted:
        return fields
    has_ended = row.status in BATCH_TERMINAL
    fields.append(("results", f"{row.output}{RESULTS}" if has_ended else f"{row.output} (written at the end)"))
    return fields


def _failure_fields(groups: Sequence[FailureGroup]) -> Iterator[tuple[str, Text]]:
    width = max((len(f"{group.count:,}") for group in groups), default=0)
    for number, group in enumerate(groups[:_MAX_CAUSES_SHOWN]):
        cause = escape_control_chars(group.cause or "cause not recorded")
        yield "" if number else "failures", Text(f"{group.count:>{width},} × {cause}", "red")
    if len(groups) > _MAX_CAUSES_SHOWN:
        yield "", Text(f"and {pluralize(len(groups) - _MAX_CAUSES_SHOWN, 'other cause')}")


def _print_list_problem(out: Console, problem: str) -> None:
    """Print why the vendor's list of tasks proves nothing, if the last search could not read it as a whole."""
    if problem:
        text = f"The last search could not read the vendor's list of tasks: {escape_control_chars(problem)}"
        out.print(Text(f"{text} That a run is not found there proves nothing.", "yellow"))


def _print_unknown(out: Console, items: ItemStore, row: BatchRow) -> None:
    """Print the unknown items whose wait is over; they have an error, those that still wait have none."""
    unknown = islice(items.stream(row.id, {ItemState.UNKNOWN}), _MAX_UNKNOWN_SHOWN)
    expired = [item.id for item in unknown if item.error]
    if not expired:
        out.print(
            "Unknown: the response to the run was lost. The service waits for its callback and searches the vendor's "
            "list of tasks."
        )
        return
    more = ", …" if row.counts[ItemState.UNKNOWN] > len(expired) else ""
    out.print(
        f"Unknown: {', '.join(expired)}{more}. The response to the run was lost, no callback arrived, and the run was "
        "not found in the vendor's list of tasks: the vendor may have created and billed it all the same."
    )
    out.print(f"Check the vendor's list of tasks. To buy the runs again: `dailies retry {row.id} --status unknown`.")
