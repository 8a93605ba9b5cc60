"""What a running `up` writes into its folder, so that the other commands find it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

FILE = "env.json"
_S3 = ("PIPELINE_OUTPUT", "AWS_ENDPOINT_URL_S3")
_FOREIGN_S3 = ("AWS_PROFILE", "AWS_SESSION_TOKEN")
_OURS = ("REDIS_URL", "WIRO_", "PIPELINE_", "AWS_")


def environment(state: Path) -> dict[str, str]:
    """The environment of the service that runs, or ran, on `state`; empty when there is none."""
    try:
        values = json.loads((state / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: str(value) for name, value in values.items() if name.startswith(_OURS)}


def write_environment(state: Path, values: Mapping[str, str]) -> None:
    """Write `values` for the other commands: for this user only, as there are secrets among them."""
    _write(state / FILE, json.dumps(dict(values), indent=1))


def keep_file(file: Path, made: str) -> str:
    """What `file` holds, for this user only; `made` is put into it the first time."""
    if not file.exists():
        _write(file, made)
    return file.read_text(encoding="utf-8")


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    part.replace(file)


def completed(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """`environ`, completed by the service on `state` where REDIS_URL is not set. What the user has set wins.

    The keys of an S3 server belong to it: unless the user has named a server or an output, they all come from `state`.
    """
    if environ.get("REDIS_URL"):
        return dict(environ)
    found = environment(state)
    given = {name: value for name, value in environ.items() if value or name not in found}
    if "AWS_ENDPOINT_URL_S3" in found and not any(environ.get(name) for name in _S3):
        given = {name: value for name, value in given.items() if name not in _FOREIGN_S3}
        given.update((name, value) for name, value in found.items() if name.startswith("AWS_"))
    return {**found, **given}
