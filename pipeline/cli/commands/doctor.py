"""`doctor`: check the configuration with real requests, and the vendor with one paid run."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import settings, state_option

if TYPE_CHECKING:
    from pipeline.doctor.findings import Finding
    from pipeline.settings import Settings


def _usd(ctx: click.Context, param: click.Parameter, value: str | None) -> Decimal | None:
    try:
        usd = None if value is None else Decimal(value)
    except InvalidOperation:
        usd = Decimal("NaN")
    if usd is not None and not (usd.is_finite() and usd > 0):
        raise click.BadParameter("Give an amount of US dollars, for example 1.00.")
    return usd


@click.command("doctor")
@click.option("--live", is_flag=True, help="Also run one item at the vendor, which costs money, and write a report.")
@click.option("--budget", metavar="USD", callback=_usd, help="Most that the run of --live may cost.")
@click.option("--yes", is_flag=True, help="With --live: do not ask before the run.")
@state_option
def command(live: bool, budget: Decimal | None, yes: bool, state: Path) -> None:
    """Check every dependency and setting with real requests. Exit code 1 if there is a problem.

    Without --live it starts no run at the vendor. It leaves no object on S3 and shows no secret.
    """
    from pipeline.doctor.run import run_checks
    from pipeline.domain.formatting import pluralize

    if live != (budget is not None) or (yes and not live):
        raise click.UsageError("--live and --budget USD belong together, and --yes to both.")
    checked, findings = _settings(state)
    problems = _print(findings) + _print(run_checks(checked) if checked else [])
    if budget is not None and not findings and checked:
        problems += _run_live(checked, budget, yes)
    if problems:
        click.echo(f"{pluralize(problems, 'problem')} found.")
        raise SystemExit(1)
    click.echo("All checks passed.")


def _settings(state: Path) -> tuple[Settings | None, list[Finding]]:
    """Return the settings without those that are invalid, and a finding for each invalid one. None: none can be read.

    The other settings are checked, too: all problems are reported at once.
    """
    from pipeline.doctor.findings import wrong
    from pipeline.errors import InvalidSettings
    from pipeline.settings import load

    try:
        return settings(state), []
    except InvalidSettings as error:
        lines, fix = str(error).splitlines(), "Correct it."
        if not error.fields:
            return None, [wrong("settings", line, f"{fix} Then run `dailies doctor` again.") for line in lines]
        fix = f"{fix} What follows was checked with its default."
        return load(without=error.fields), [wrong("settings", line, fix) for line in lines]


def _print(findings: Iterable[Finding]) -> int:
    """Print findings as they come. Return the number of problems."""
    from rich.text import Text

    from pipeline.cli.terminal import console
    from pipeline.doctor.findings import Severity
    from pipeline.domain.plain_text import escape_control_chars

    colours = {Severity.OK: "green", Severity.NOTE: "yellow", Severity.WRONG: "bold red"}
    out, problems = console(), 0
    for finding in findings:
        problems += finding.severity is Severity.WRONG
        out.print(
            Text(f"{finding.severity:<6}", colours[finding.severity]),
            f"{finding.subject}: {escape_control_chars(finding.message)}",
        )
        if finding.fix:
            out.print(f"       {escape_control_chars(finding.fix)}")
    return problems


def _run_live(checked: Settings, budget: Decimal, yes: bool) -> int:
    """Run one item, print the findings and write the report. Return the number of problems."""
    from datetime import UTC, datetime

    from pipeline.doctor.findings import wrong
    from pipeline.doctor.live_report import markdown, report_name
    from pipeline.doctor.live_run import LiveRunRefused, observe_run, plan_run
    from pipeline.domain.formatting import dollars

    try:
        plan = plan_run(checked, budget)
    except LiveRunRefused as error:
        return _print([wrong("live run", str(error))])
    if not yes:
        price = dollars(plan.price.high_usd)
        click.confirm(f"Post one run of {plan.model} at {checked.wiro_api_url} for {price}?", abort=True)
    findings: list[Finding] = []
    started = datetime.now(UTC)
    report = Path(report_name(started))
    try:
        report.touch()
    except OSError as error:
        return _print([wrong("live run", f"Nothing was run: {report} cannot be written here: {error.strerror}.")])
    try:
        return _print(_kept(observe_run(checked, plan), findings))
    finally:
        report.write_text(markdown(plan.model, findings, started), encoding="utf-8")
        click.echo(f"Report: {report}")


def _kept(findings: Iterable[Finding], kept: list[Finding]) -> Iterable[Finding]:
    for finding in findings:
        kept.append(finding)
        yield finding
