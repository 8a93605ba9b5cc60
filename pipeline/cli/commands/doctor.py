"""`doctor`: check the configuration with real requests."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import settings, state_option


@click.command("doctor")
@state_option
def command(state: Path) -> None:
    """Check every dependency and setting with real requests. Exit code 1 if there is a problem.

    It starts no run at the vendor, leaves no object on S3 and shows no secret.
    """
    from rich.text import Text

    from pipeline.cli.terminal import console, escape_control_chars
    from pipeline.doctor.findings import Severity
    from pipeline.doctor.run import run_checks
    from pipeline.domain.formatting import pluralize
    from pipeline.errors import InvalidSettings

    colours = {Severity.OK: "green", Severity.NOTE: "yellow", Severity.WRONG: "bold red"}
    out, problems = console(), 0
    try:
        checked = settings(state)
    except InvalidSettings as error:
        for line in str(error).splitlines():
            out.print(Text("wrong ", colours[Severity.WRONG]), f"settings: {escape_control_chars(line)}")
        raise SystemExit(1) from None
    for finding in run_checks(checked):
        problems += finding.severity is Severity.WRONG
        out.print(
            Text(f"{finding.severity:<6}", colours[finding.severity]),
            f"{finding.subject}: {escape_control_chars(finding.message)}",
        )
        if finding.fix:
            out.print(f"       {escape_control_chars(finding.fix)}")
    if problems:
        out.print(f"{pluralize(problems, 'problem')} found.")
        raise SystemExit(1)
    out.print("All checks passed.")
