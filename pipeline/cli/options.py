"""Options and connections that the commands share. Heavy imports happen only in the functions that need them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from pipeline.cli.batch_ids import BatchId
from pipeline.domain.ids import is_item_id
from pipeline.domain.suggestions import hint
from pipeline.errors import NoSuchItem, ServiceRefuses, Unreachable
from pipeline.local.state_file import completed, environment, find_state

if TYPE_CHECKING:
    from pipeline.batches.service import Service
    from pipeline.ledger.ledger import Ledger
    from pipeline.settings import Settings

_Function = TypeVar("_Function", bound=Callable[..., Any])
_FOLDER = click.Path(file_okay=False, path_type=Path)
DEFAULT_STATE = Path("var")


class NoRunningUp(Unreachable):
    """No `dailies up` runs, and REDIS_URL is not set."""

    def __init__(self, state: Path) -> None:
        where = f"./{DEFAULT_STATE} or above" if state == DEFAULT_STATE else str(state)
        super().__init__(
            f"There is no running `dailies up` in {where}. Start it, or name its folder with --state, or set REDIS_URL."
        )


def _state_folder(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path:
    return value or find_state(Path(), DEFAULT_STATE) or DEFAULT_STATE


def _valid_item_id(ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not is_item_id(value):
        raise NoSuchItem(ctx.params.get("batch_id", ""), value)
    return value


batch_argument = click.argument("batch_id", metavar="BATCH", type=BatchId())
optional_batch_argument = click.argument("batch_id", metavar="[BATCH]", required=False, type=BatchId())
item_argument = click.argument("item_id", metavar="ITEM", callback=_valid_item_id)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else.")
check_images_option = click.option(
    "--check-images", is_flag=True, help="Request every image with an address, and report those that no run can use."
)
state_option = click.option(
    "--state",
    type=_FOLDER,
    # Before the argument BATCH, which is looked up in the service there.
    is_eager=True,
    callback=_state_folder,
    help="Folder of a running `dailies up`; used if REDIS_URL is not set. Default: var here, or in a parent folder.",
)


def _names(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    from pipeline.manifest.columns import split_names

    return tuple(name for value in values for name in split_names(value))


def _params(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    params: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals or name in params:
            raise click.BadParameter(f"{value!r} is given twice." if name in params else f"{value!r} is not K=V.")
        params[name] = text
    return params


def _prompts(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(str.strip, values)) or len(set(values)) < len(values):
        raise click.BadParameter("a prompt is empty, or is given twice.")
    return values


def _valid(name: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return the callback of an option whose value is that of a key of manifests. `name`: of the validator."""

    def validate(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        from pipeline.manifest import validators

        try:
            return None if value is None else getattr(validators, name)(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None

    return validate


_SOURCE_OPTIONS = (
    click.argument("paths", metavar="PATH...", nargs=-1, required=True),
    click.option(
        "--prompt", "prompts", metavar="TEXT", multiple=True, callback=_prompts,
        help="For images: each image is run with each prompt. Can be repeated.",
    ),
    click.option("--name", metavar="NAME", help="Name of the batch. Default: that of the file or folder."),
    click.option("--model", metavar="OWNER/NAME", callback=_valid("validate_model"), help="Model at the vendor."),
    click.option(
        "--param", "params", metavar="K=V", multiple=True, callback=_params,
        help="A parameter of the model for every item. Can be repeated.",
    ),
    click.option(
        "--budget", "budget_usd", metavar="USD", callback=_valid("validate_usd"),
        help="The most that the batch may cost.",
    ),
    click.option("--attempts", type=click.IntRange(1, 20), help="Maximum number of runs for each item. Default: 3."),
    click.option(
        "--reuse", is_flag=True,
        help="Copy outputs that were bought before for the same model, params, prompt and image.",
    ),
    click.option("--recursive", is_flag=True, help="Take the images of folders in folders, too."),
    click.option(
        "--ignore-columns", metavar="NAMES", multiple=True, callback=_names,
        help="Columns of rows that are passed over, with commas between them.",
    ),
)  # fmt: skip


def source_options(function: _Function) -> _Function:
    """Add the arguments of commands that take a manifest, rows or images: `paths`, and `options` (SourceOptions)."""

    @functools.wraps(function)
    def with_options(**values: Any) -> Any:
        from dataclasses import fields

        from pipeline.manifest.sources import SourceOptions

        names = {one.name for one in fields(SourceOptions)}
        options = SourceOptions(**{name: value for name, value in values.items() if name in names})
        return function(options=options, **{name: value for name, value in values.items() if name not in names})

    for option in reversed(_SOURCE_OPTIONS):
        option(with_options)
    return cast(_Function, with_options)


def data_folder_option(default: str) -> Callable[[_Function], _Function]:
    """Return the option `--state` of a command that runs the service."""
    return click.option(
        "--state", type=_FOLDER, default=Path(default), show_default=True, help="Folder for all data of the service."
    )


def settings(state: Path) -> Settings:
    """Return the settings. The environment of a running `up` supplies what is not set. Raises InvalidSettings."""
    from pipeline.observability import logging
    from pipeline.settings import load, with_secret_files

    # Warnings go to stderr: stdout has only the command's result.
    logging.configure()
    # boto3 reads its AWS_… variables from the process environment.
    environ = completed(with_secret_files(os.environ), state)
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    os.environ.update(environ)
    return load()


def ledger(state: Path) -> Ledger:
    """Return the ledger, for commands that do not use S3."""
    from pipeline.ledger.ledger import Ledger

    with redis_of_up(state):
        found = Ledger.connect(settings(state).redis_url)
        found.check_schema()
    return found


def service(state: Path) -> Service:
    """Return the whole application."""
    from pipeline.batches.service import Service

    with redis_of_up(state):
        found = Service.connect(settings(state))
        found.ledger.check_schema()
    return found


@contextmanager
def redis_of_up(state: Path) -> Iterator[None]:
    """Raise NoRunningUp in place of Unreachable if nothing but a running `up` could have named the Redis."""
    try:
        yield
    except ServiceRefuses:
        raise
    except Unreachable as error:
        named = os.environ.get("REDIS_URL")
        saved = environment(state).get("REDIS_URL")
        is_of_user = named != saved if named else "redis_url" in settings(state).model_fields_set
        if is_of_user:
            raise
        raise NoRunningUp(state) from error


class Choice(click.Choice[str]):
    """A choice whose error names the most similar value."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the message for a value that is not one of the choices."""
        return super().get_invalid_choice_message(value, ctx) + hint(str(value), self.choices)


def states(allowed: tuple[str, ...]) -> Callable[[click.Context, click.Parameter, str | None], tuple[str, ...] | None]:
    """Return the callback of an option that takes comma-separated item states out of `allowed`."""

    def split(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        invalid = [name for name in names if name not in allowed]
        if invalid or not names:
            raise click.BadParameter(
                f"{', '.join(invalid) or 'an empty value'} is not a valid state. Use {', '.join(allowed)}."
                f"{hint(invalid[0], allowed) if invalid else ''}"
            )
        return names

    return split
