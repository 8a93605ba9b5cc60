"""`sandbox`: a stand-in for Wiro on this machine."""

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


def _run(host: str, port: int, state: Path | None, **given: str | bool | None) -> None:
    try:
        options = Options.model_validate(
            {**_credentials(os.environ), **{name: value for name, value in given.items() if value is not None}}
        )
    except ValidationError as error:
        raise click.UsageError(explain(error)) from None
    try:
        serve(options, host, port, state)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _credentials(environ: Mapping[str, str]) -> dict[str, Any]:
    """The key and secret to accept. A key without a secret is a project of the kind that has none."""
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
    return {"metavar": str(field.default)}


command = click.Command(
    "sandbox",
    callback=_run,
    params=[
        click.Option(["--port"], type=click.IntRange(0, 65535), default=8700, show_default=True, help="0: a free one."),
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.Option(
            ["--state"],
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder in which tasks are remembered over a restart; without it they are not.",
        ),
        *_flags(),
    ],
    help="A stand-in for Wiro: API, WebSocket and CDN on one port, with faults on request.\n\n"
    "Each option's default is shown in place of its value. The API key and secret are WIRO_API_KEY and "
    "WIRO_API_SECRET, else 'sandbox-key' and 'sandbox-secret'.",
)
