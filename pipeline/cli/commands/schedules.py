"""`schedules`: show and control the batches that start by the clock."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pipeline.cli.options import json_option, ledger, service, settings, state_option

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.schedules.scheduler import Scheduler
    from pipeline.schedules.summary import ScheduleSummary, ScheduleView


@click.group("schedules", invoke_without_command=True)
@json_option
@state_option
@click.pass_context
def command(ctx: click.Context, as_json: bool, state: Path) -> None:
    """Show the schedules: their next times, their latest batches, skipped occurrences with the reason.

    The file is PIPELINE_SCHEDULES (config/schedules.yaml). Reference: docs/schedules.md.
    """
    if ctx.invoked_subcommand is not None:
        return
    from pipeline.cli.terminal import console, print_json
    from pipeline.schedules.store import ScheduleStore
    from pipeline.schedules.summary import document, summary

    config, batches = settings(state), ledger(state).batches
    states = ScheduleStore.connect(config.redis_url)
    schedules = summary(config.schedules, states, batches, states.now())
    if as_json:
        print_json(document(schedules))
    else:
        _print(console(), console(stderr=True), schedules, config.schedules)


@command.command("run")
@click.argument("name")
@state_option
@click.pass_context
def run(ctx: click.Context, name: str, state: Path) -> None:
    """Start a batch of schedule NAME now. The last line of stdout is the batch's id.

    The schedule may be paused or have a running batch. Exit codes: 0, 2 invalid manifest, 3 Redis or S3 is
    unavailable, 4 no such schedule.
    """
    scheduler = _scheduler(ctx, state)
    click.echo(scheduler.run(name, scheduler.store.now()).batch_id)


@command.command("pause")
@click.argument("name")
@state_option
@click.pass_context
def pause(ctx: click.Context, name: str, state: Path) -> None:
    """Skip the occurrences of schedule NAME until it is resumed. Running batches continue."""
    scheduler = _scheduler(ctx, state)
    scheduler.pause(name, scheduler.store.now())
    click.echo(f"Schedule {name} is paused: its occurrences are skipped. Resume it: `dailies schedules resume {name}`.")


@command.command("resume")
@click.argument("name")
@state_option
@click.pass_context
def resume(ctx: click.Context, name: str, state: Path) -> None:
    """Resume schedule NAME, from its next occurrence."""
    _scheduler(ctx, state).resume(name)
    click.echo(f"Schedule {name} is resumed.")


def _scheduler(ctx: click.Context, state: Path) -> Scheduler:
    from pipeline.schedules.scheduler import Scheduler

    if ctx.parent and ctx.get_parameter_source("state") is ParameterSource.DEFAULT:
        state = ctx.parent.params["state"]
    return Scheduler.of(service(state))


def _print(out: Console, errors: Console, schedules: ScheduleSummary, file: Path) -> None:
    from pipeline.domain.plain_text import escape_lines

    if schedules.file_error:
        errors.print("The schedules file is invalid. Its previous valid content is still in force.", style="red")
        errors.print(escape_lines(schedules.file_error))
    if not schedules.schedules:
        out.print(f"There are no schedules. Add them to {file}.")
    for number, view in enumerate(schedules.schedules):
        if number:
            out.print()
        _print_schedule(out, view)


def _print_schedule(out: Console, view: ScheduleView) -> None:
    from rich.text import Text

    from pipeline.cli.terminal import batch_state, print_fields
    from pipeline.domain.formatting import dollars
    from pipeline.domain.plain_text import escape_control_chars

    schedule = view.schedule
    fields: list[tuple[str, str | Text]] = [
        ("schedule", schedule.name),
        ("when", f"{schedule.cron} ({schedule.timezone})"),
        ("manifest", schedule.manifest),
    ]
    if view.paused:
        fields.append(("next", Text(f"paused; resume it: `dailies schedules resume {schedule.name}`", "yellow")))
    elif not schedule.enabled:
        fields.append(("next", "never: the schedule is not enabled"))
    fields += [(_first_only("next", number), _local(moment)) for number, moment in enumerate(view.next)]
    fields += [(_first_only("waiting", number), _local(moment)) for number, moment in enumerate(view.waiting)]
    for number, row in enumerate(view.batches):
        line = Text.assemble(
            escape_control_chars(row.id), "  ", batch_state(row), f"  {row.total:,} items, ", dollars(row.cost_usd)
        )
        fields.append((_first_only("batches", number), line))
    for number, record in enumerate(view.not_started):
        occurrences = [moment.astimezone(schedule.zone) for moment in (record.occurrence, record.last) if moment]
        span = " to ".join(dict.fromkeys(map(_local, occurrences)))
        fields.append((_first_only("not made", number), f"{span}  {record.did}: {record.why}"))
    print_fields(out, fields)


def _first_only(label: str, number: int) -> str:
    return "" if number else label


def _local(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M %Z}"
