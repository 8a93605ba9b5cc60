"""The `dailies` command. Each subcommand is imported when it runs, so that `--help` imports only click."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from pipeline.domain.plain_text import escape_lines
from pipeline.errors import DailiesError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

INTERRUPTED = 130
COMMANDS = {
    "demo": "Run the service with a sample batch and show its videos.",
    "up": "Run the whole service on this machine.",
    "validate": "Check a manifest; print every error with its line.",
    "submit": "Create a batch from a manifest, rows or images; print its id.",
    "init": "Print the manifest of rows or images.",
    "status": "Show a batch, or the account and the newest batches.",
    "watch": "Follow a batch until it ends.",
    "list": "List the newest batches.",
    "items": "List the items of a batch.",
    "results": "Print the results manifest of an ended batch.",
    "pull": "Copy the videos, results and gallery of a batch to this machine.",
    "open": "Open the dashboard, or the page of a batch, in the browser.",
    "logs": "Follow the vendor's messages about an item's run.",
    "cancel": "Cancel a batch: pending items and active runs.",
    "retry": "Retry ended items of a batch, by default those that failed.",
    "pause": "Pause a batch, or all submissions of the account.",
    "resume": "Resume a paused batch, or the account.",
    "forget": "Drop an ended batch from Redis; what is on S3 stays.",
    "recover": "Rebuild a batch's ledger from S3.",
    "reindex": "Find the outputs on S3 that batches with `reuse` can copy.",
    "schedules": "Show and control the batches that start by the clock.",
    "listen": "Start batches when objects are created on S3.",
    "doctor": "Check every dependency and setting.",
    "sandbox": "Run a stand-in for Wiro on this machine.",
    "completion": "Print the script that completes commands in a shell.",
}
"""Help line of each command. `pipeline.cli.commands.NAME` defines the command as `command`."""


class _Commands(click.Group):
    """Commands that are imported on use. A DailiesError becomes a message on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pipeline.cli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin with `incomplete`, without the import of each, which takes a second."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names or click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DailiesError as error:
            click.echo(escape_lines(str(error)), err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


def _print_version(ctx: click.Context, param: click.Parameter, is_given: bool) -> None:
    if is_given and not ctx.resilient_parsing:
        from pipeline.user_agent import VERSION

        click.echo(f"dailies {VERSION}")
        ctx.exit()


main = _Commands(
    "dailies",
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
            help="Print the version and exit.",
        )
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a video on S3 from each image/prompt pair of a manifest.\n\n"
    "Options of a command: `dailies COMMAND -h`. The commands use the Redis at REDIS_URL, or a running `dailies up` "
    "through its folder (--state, default ./var here or in a parent folder).\n\n"
    "BATCH is an id, the beginning of one, or `last` for the newest batch.",
)  # fmt: skip
