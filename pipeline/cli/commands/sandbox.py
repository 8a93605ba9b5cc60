"""`sandbox`: run a stand-in for Wiro on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pipeline.sandbox.app import serve
from pipeline.sandbox.options import Options, explain


def _run(host: str, port: int, state: Path | None, **flags: str | bool | None) -> None:
    from pipeline.settings import with_secret_files

    try:
        options = Options.model_validate(
            {
                **_credentials(with_secret_files(os.environ)),
                **{name: value for name, value in flags.items() if value is not None},
            }
        )
    except ValidationError as error:
        raise click.UsageError(explain(error)) from None
    try:
        serve(options, host, port, state)
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port."
        ) from None


def _credentials(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the key and secret to accept. A Wiro project can have a key without a secret."""
    key = environ.get("WIRO_API_KEY")
    return {"api_key": key, "api_secret": environ.get("WIRO_API_SECRET") or None} if key else {}


def _flags() -> list[click.Parameter]:
    return [
        click.Option(
            [f"--{name.replace('_', '-')}"],
            **_value(field),
            help=field.description,
        )
        for name, field in Options.model_fields.items()
        if field.description
    ]


def _value(field: FieldInfo) -> dict[str, Any]:
    if field.annotation is bool:
        return {"is_flag": True, "default": None}
    return {"metavar": str(field.default) or "NAME"}


command = click.Command(
    "sandbox",
    callback=_run,
    params=[
        click.Option(
            ["--port"], type=click.IntRange(0, 65535), default=8700, show_default=True, help="Port; 0: a free one."
        ),
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.Option(
            ["--state"],
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder that stores tasks across restarts. Without it, a restart loses them.",
        ),
        *_flags(),
    ],
    help="Run a stand-in for Wiro: API, WebSocket and CDN on one port, with configurable faults.\n\n"
    "The help shows each option's default. The API key and secret are WIRO_API_KEY and "
    "WIRO_API_SECRET, by default 'sandbox-key' and 'sandbox-secret'.",
)
