"""Read whole multipart forms: the reader of aiohttp takes most of the time of a Run. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.sandbox.errors import VALIDATION, Refusal

_BOUNDARY = re.compile(r'boundary="?([^";,]{1,200})"?', re.I)
_NAME = re.compile(rb'[; ]name="([^"]*)"', re.I)
_FILE_NAME = re.compile(rb'filename="([^"]*)"', re.I)
_CONTENT_TYPE = re.compile(rb"^content-type:\s*([^\r\n;]+)", re.I | re.M)


@dataclass(frozen=True)
class FormFile:
    """A file of a form."""

    name: str
    content_type: str
    body: bytes


def read_multipart(body: bytes, content_type: str) -> dict[str, str | FormFile]:
    """Return the fields of a `multipart/form-data` body. Raises Refusal (0) if it is invalid or incomplete."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise Refusal(VALIDATION, "The form has no boundary.")
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())
    if not parts[-1].startswith(b"--"):
        raise Refusal(VALIDATION, "The form is cut off.")
    return dict(_field(part) for part in parts[1:-1])


def _field(part: bytes) -> tuple[str, str | FormFile]:
    head, blank, value = part.partition(b"\r\n\r\n")
    name = _NAME.search(head)
    if not blank or name is None:
        raise Refusal(VALIDATION, "A part of the form has no name.")
    file_name = _FILE_NAME.search(head)
    if file_name is None:
        return _text(name[1]), value.decode("utf-8", "replace")
    kind = _CONTENT_TYPE.search(head)
    return _text(name[1]), FormFile(
        _text(file_name[1]), kind[1].decode("latin-1").strip() if kind else "application/octet-stream", value
    )


def _text(quoted: bytes) -> str:
    return quoted.decode("utf-8", "replace").replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
