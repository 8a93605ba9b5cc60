"""`schedules`: batches that start by the clock."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pipeline.cli.options import json_option, service, settings, state_option

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.schedules.scheduler import Scheduler
    from pipeline.schedules.summary import ScheduleSummary, ScheduleView


@click.group("schedules", invoke_without_command=True)
@json_option
@state_option
@click.pass_context
def command(ctx: click.Context, as_json: bool, state: Path) -> None:
    """Schedules: their next times, their last batches, what was skipped and why.

    They are in the file of PIPELINE_SCHEDULES (config/schedules.yaml); docs/schedules.md tells more.
    """
    if ctx.invoked_subcommand is not None:
        return
    from pipeline.cli.terminal import console, print_json
    from pipeline.ledger.ledger import Ledger
    from pipeline.schedules.store import ScheduleStore
    from pipeline.schedules.summary import document, summary

    setup = settings(state)
    states = ScheduleStore.connect(setup.redis_url)
    ledger = Ledger.connect(setup.redis_url)
    ledger.check_schema()
    found = summary(setup.schedules, states, ledger, states.now())
    if as_json:
        print_json(document(found))
    else:
        _print(console(), console(stderr=True), found, setup.schedules)


@command.command("run")
@click.argument("name")
@state_option
@click.pass_context
def run(ctx: click.Context, name: str, state: Path) -> None:
    """Make the batch of schedule NAME now; print its id as the last line of stdout.

    Whatever runs or is paused: it was asked for. Exit codes: 0, 2 invalid manifest, 3 Redis or S3 does not answer,
    4 no such schedule.
    """
    scheduler = _scheduler(ctx, state)
    click.echo(scheduler.run(name, scheduler.store.now()).batch_id)


@command.command("pause")
@click.argument("name")
@state_option
@click.pass_context
def pause(ctx: click.Context, name: str, state: Path) -> None:
    """Skip the ticks of schedule NAME until it is resumed. What runs goes on."""
    scheduler = _scheduler(ctx, state)
    scheduler.pause(name, scheduler.store.now())
    click.echo(f"Schedule {name} is paused: its ticks are skipped. `dailies schedules resume {name}` goes on.")


@command.command("resume")
@click.argument("name")
@state_option
@click.pass_context
def resume(ctx: click.Context, name: str, state: Path) -> None:
    """Go on with schedule NAME, from its next tick."""
    _scheduler(ctx, state).resume(name)
    click.echo(f"Schedule {name} goes on.")


def _scheduler(ctx: click.Context, state: Path) -> Scheduler:
    from pipeline.schedules.scheduler import Scheduler

    if ctx.parent and ctx.get_parameter_source("state") is ParameterSource.DEFAULT:
        state = ctx.parent.params["state"]
    return Scheduler.of(service(state))


def _print(out: Console, errors: Console, found: ScheduleSummary, file: Path) -> None:
    if found.file_error:
        errors.print("The schedules file is broken. What it said before is still in force.", style="red")
        errors.print(found.file_error)
    if not found.schedules:
        out.print(f"There are no schedules: write them in {file}.")
    for number, view in enumerate(found.schedules):
        if number:
            out.print()
        _print_schedule(out, view)


def _print_schedule(out: Console, view: ScheduleView) -> None:
    from rich.text import Text

    from pipeline.cli.terminal import escape_control_chars, print_fields
    from pipeline.cli.terminal import state as coloured
    from pipeline.domain.formatting import dollars

    schedule = view.schedule
    fields: list[tuple[str, str | Text]] = [
        ("schedule", schedule.name),
        ("when", f"{schedule.cron} ({schedule.timezone})"),
        ("manifest", schedule.manifest),
    ]
    if view.paused:
        fields.append(("next", Text(f"paused; `dailies schedules resume {schedule.name}` goes on", "yellow")))
    elif not schedule.enabled:
        fields.append(("next", "never: it is not enabled"))
    fields += [(_once("next", number), _local(moment)) for number, moment in enumerate(view.next)]
    fields += [(_once("waiting", number), _local(moment)) for number, moment in enumerate(view.waiting)]
    for number, row in enumerate(view.batches):
        told = Text.assemble(
            escape_control_chars(row.id), "  ", coloured(row.status), f"  {row.total:,} items, ", dollars(row.cost_usd)
        )
        fields.append((_once("batches", number), told))
    for number, record in enumerate(view.not_started):
        occurrences = [moment.astimezone(schedule.zone) for moment in (record.occurrence, record.last) if moment]
        span = " to ".join(dict.fromkeys(map(_local, occurrences)))
        fields.append((_once("not made", number), f"{span}  {record.did}: {record.why}"))
    print_fields(out, fields)


def _once(label: str, number: int) -> str:
    return "" if number else label


def _local(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M %Z}"
