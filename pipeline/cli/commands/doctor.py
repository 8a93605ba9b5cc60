"""`doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import settings, state_option


@click.command("doctor")
@state_option
def command(state: Path) -> None:
    """Check every dependency and setting for real. Exit code 1 when something is wrong.

    Nothing is run at the vendor, nothing is left on S3, no secret is shown.
    """
    from rich.text import Text

    from pipeline.cli.terminal import console, escape_control_chars
    from pipeline.doctor import Verdict, examine
    from pipeline.errors import InvalidSettings

    colours = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.WRONG: "bold red"}
    out, wrong = console(), 0
    try:
        setup = settings(state)
    except InvalidSettings as error:
        for line in str(error).splitlines():
            out.print(Text("wrong ", colours[Verdict.WRONG]), f"settings: {escape_control_chars(line)}")
        raise SystemExit(1) from None
    for finding in examine(setup):
        wrong += finding.verdict is Verdict.WRONG
        out.print(
            Text(f"{finding.verdict:<6}", colours[finding.verdict]),
            f"{finding.subject}: {escape_control_chars(finding.message)}",
        )
        if finding.fix:
            out.print(f"       {escape_control_chars(finding.fix)}")
    if wrong:
        out.print(f"{wrong} to mend.")
        raise SystemExit(1)
    out.print("All is well.")
