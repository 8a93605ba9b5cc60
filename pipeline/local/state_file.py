"""The file in which a running `up` leaves its settings for the other commands."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from pipeline.local.private_files import write_private

FILE = "env.json"
SHELL_FILE = "aws.sh"
SETTINGS = ("REDIS_URL", "WIRO_", "PIPELINE_", "AWS_")
"""What the names of this service's settings start with."""
USER_S3 = ("AWS_PROFILE", "AWS_SESSION_TOKEN")
"""Credentials of the user that must not be sent to the embedded S3 server."""
_S3_PLACE = ("PIPELINE_OUTPUT", "AWS_ENDPOINT_URL_S3")


def find_state(start: Path, name: Path) -> Path | None:
    """Return the folder `name` in `start` or in the nearest parent folder in which this user's `up` left its settings.

    Another user's file is passed over: it could name servers of that user.
    """
    for parent in (start, *start.absolute().parents):
        try:
            if (parent / name / FILE).stat().st_uid == os.getuid():
                return parent / name
        except OSError:
            continue
    return None


def environment(state: Path) -> dict[str, str]:
    """Return the settings of the service that runs, or ran, on the folder `state`. Empty without one."""
    try:
        values = json.loads((state / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: str(value) for name, value in values.items() if name.startswith(SETTINGS)}


def write_environment(state: Path, values: Mapping[str, str]) -> None:
    """Write `values`, readable by this user only: they contain secrets."""
    write_private(state / FILE, json.dumps(dict(values), indent=1))


def write_shell_file(state: Path, values: Mapping[str, str]) -> Path:
    """Write the AWS settings of `values` for a shell to source, readable by this user only. Return the file."""
    ours = [f"export {name}={shlex.quote(value)}" for name, value in values.items() if name.startswith("AWS_")]
    # With them, the AWS command line would send the keys of another server.
    lines = [*ours, f"unset {' '.join(name for name in USER_S3 if name not in values)}"]
    write_private(state / SHELL_FILE, "\n".join(lines) + "\n")
    return state / SHELL_FILE


def read_or_create(file: Path, content: str) -> str:
    """Return the text of `file`. Write `content` first if there is no file, readable by this user only."""
    if not file.exists():
        write_private(file, content)
    return file.read_text(encoding="utf-8")


def completed(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """Return `environ`, plus the settings of the service on `state` unless REDIS_URL is set. `environ` wins.

    The embedded S3 server accepts its own keys only: unless `environ` names a server or an output, all AWS settings
    come from `state`.
    """
    if environ.get("REDIS_URL"):
        return dict(environ)
    saved = environment(state)
    own = {name: value for name, value in environ.items() if value or name not in saved}
    if "AWS_ENDPOINT_URL_S3" in saved and not any(environ.get(name) for name in _S3_PLACE):
        own = {name: value for name, value in own.items() if name not in USER_S3}
        own.update((name, value) for name, value in saved.items() if name.startswith("AWS_"))
    return {**saved, **own}
