"""The `dailies` command: a group whose commands are imported when they run. Its help needs click and nothing else."""

from __future__ import annotations

import importlib
from typing import Any

import click

from pipeline.errors import DailiesError

INTERRUPTED = 130
COMMANDS = {
    "demo": "See it work: the service, a sample batch, its videos.",
    "up": "Run the whole service on this machine.",
    "validate": "Check a manifest; name every mistake with its line.",
    "submit": "Take a manifest in; print the id of its batch.",
    "status": "How a batch is doing, or the account and the newest batches.",
    "watch": "Follow a batch until it ends.",
    "list": "The newest batches.",
    "items": "The items of a batch.",
    "results": "The results manifest of a batch that has ended.",
    "logs": "What the vendor says of an item's run, live.",
    "cancel": "Stop a batch: what waits and what runs.",
    "retry": "Let ended items of a batch go again.",
    "pause": "Submit nothing more, of a batch or of the whole account.",
    "resume": "Go on with a paused batch, or with the account.",
    "recover": "Rebuild a batch's ledger from S3.",
    "schedules": "Batches that start by the clock.",
    "listen": "Start batches when objects arrive on S3.",
    "doctor": "Check every dependency and setting for real.",
    "sandbox": "A stand-in for Wiro on this machine.",
}
"""Each command with its line of help: `pipeline.cli.commands.NAME` has it as `command`."""


class _Commands(click.Group):
    """Commands by name, without importing them; their errors as a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pipeline.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DailiesError as error:
            click.echo(str(error), err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


main = _Commands(
    "dailies",
    help="A list of pictures and prompts in, a video of each on S3 out.\n\n"
    "`dailies COMMAND --help` tells more. The commands speak to the Redis of REDIS_URL, or find a running "
    "`dailies up` through its folder (--state, default ./var).",
)
