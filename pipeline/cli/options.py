"""What the commands share: options, and the service that they speak to. Heavy imports wait until they are needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.local.env_file import completed

if TYPE_CHECKING:
    from pipeline.batches.service import Service
    from pipeline.ledger.ledger import Ledger
    from pipeline.settings import Settings

_Function = TypeVar("_Function", bound=Callable[..., Any])

batch_argument = click.argument("batch_id", metavar="BATCH")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var"),
    show_default=True,
    help="Folder of a running `dailies up`; used where REDIS_URL is not set.",
)


def settings(state: Path) -> Settings:
    """The settings, with the environment of a running `up` where the user has set none. Raises InvalidSettings."""
    from pipeline.observability import logging
    from pipeline.settings import load

    # What is worth a warning goes to stderr: stdout is the command's answer.
    logging.configure()
    # boto3 looks for its AWS_… variables by itself.
    environ = completed(os.environ, state)
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    os.environ.update(environ)
    return load()


def ledger(state: Path) -> Ledger:
    """The ledger alone: for commands that need no S3."""
    from pipeline.ledger.ledger import Ledger

    found = Ledger.connect(settings(state).redis_url)
    found.check_schema()
    return found


def service(state: Path) -> Service:
    """The whole service."""
    from pipeline.batches.service import Service

    found = Service.connect(settings(state))
    found.ledger.check_schema()
    return found


def states(allowed: tuple[str, ...]) -> Callable[[click.Context, click.Parameter, str | None], tuple[str, ...] | None]:
    """An option's callback: item states with commas between them, each one of `allowed`."""

    def split(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        found = tuple(part.strip() for part in value.split(",") if part.strip())
        wrong = [part for part in found if part not in allowed]
        if wrong or not found:
            raise click.BadParameter(f"{', '.join(wrong) or 'nothing'}: must be among {', '.join(allowed)}")
        return found

    return split
