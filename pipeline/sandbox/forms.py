"""Read request bodies: multipart, form-encoded or JSON. Pure.

The multipart reader of aiohttp takes most of the time of a Run, so whole forms are read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from pipeline.sandbox.errors import INVALID_BODY, VALIDATION, Refusal

_BOUNDARY = re.compile(r'boundary="?([^";,]{1,200})"?', re.I)
_NAME = re.compile(rb'[; ]name="([^"]*)"', re.I)
_FILE_NAME = re.compile(rb'filename="([^"]*)"', re.I)
_CONTENT_TYPE = re.compile(rb"^content-type:\s*([^\r\n;]+)", re.I | re.M)
_MAX_FIELDS = 1000


@dataclass(frozen=True)
class FormFile:
    """A file of a form."""

    name: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Form:
    """The fields of a body. A repeated field has several values; a list in JSON counts as such."""

    fields: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values as sent: text or FormFile in a form, anything in JSON."""
    is_multipart: bool = False

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def values(self, name: str) -> list[Any]:
        """Return the values of a field that are not empty."""
        return [value for value in _flat(self.fields.get(name, ())) if not _is_empty(value)]

    def text(self, name: str) -> str:
        """Return the first value of a field as text, '' for none and for a file."""
        value = next(iter(self.values(name)), "")
        if isinstance(value, FormFile):
            return ""
        return value if isinstance(value, str) else json.dumps(value)

    def file(self, name: str) -> FormFile | None:
        """Return the file in a field, or None."""
        return next((value for value in self.values(name) if isinstance(value, FormFile)), None)

    def number(self, name: str, default: int) -> int:
        """Return a field as a whole number of at least 0. Raises Refusal (0) if it is none."""
        text = self.text(name) or str(default)
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise Refusal(VALIDATION, f"Request parameter [{name}] must be integer or float")
        return max(0, int(text))

    def parameters(self, files_url: str) -> dict[str, Any]:
        """Return the fields as the `parameters` of a task. A file is a URL below `files_url`, as at the vendor."""
        plain = {
            name: [f"{files_url}/{value.name}" if isinstance(value, FormFile) else value for value in values]
            for name, values in self.fields.items()
        }
        return {name: values[0] if len(values) == 1 else values for name, values in plain.items()}


def read_form(body: bytes, content_type: str) -> Form:
    """Return the fields of a body. Raises Refusal (0) if it is invalid or incomplete.

    JSON is accepted under any content type: the vendor's samples send it as multipart, and curl as form-encoded.
    """
    if body.lstrip()[:1] in (b"{", b"["):
        return _read_json(body)
    if content_type.lower().startswith("multipart/form-data"):
        return _collect(_multipart(body, content_type), is_multipart=True)
    if content_type.lower().startswith("application/x-www-form-urlencoded"):
        try:
            return _collect(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
        except ValueError:
            raise Refusal(VALIDATION, INVALID_BODY) from None
    if not body.strip():
        return Form()
    raise Refusal(VALIDATION, INVALID_BODY)


def _read_json(body: bytes) -> Form:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refusal(VALIDATION, INVALID_BODY)
    return Form({name: (value,) for name, value in document.items()})


def _collect(fields: Iterable[tuple[str, str | FormFile]], *, is_multipart: bool = False) -> Form:
    collected: dict[str, tuple[Any, ...]] = {}
    for name, value in fields:
        collected[name] = (*collected.get(name, ()), value)
    return Form(collected, is_multipart)


def _multipart(body: bytes, content_type: str) -> Iterator[tuple[str, str | FormFile]]:
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise Refusal(VALIDATION, INVALID_BODY)
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())
    if not parts[-1].startswith(b"--"):
        raise Refusal(VALIDATION, INVALID_BODY)
    return map(_field, parts[1:-1])


def _field(part: bytes) -> tuple[str, str | FormFile]:
    head, blank, value = part.partition(b"\r\n\r\n")
    name = _NAME.search(head)
    if not blank or name is None:
        raise Refusal(VALIDATION, INVALID_BODY)
    file_name = _FILE_NAME.search(head)
    if file_name is None:
        return _text(name[1]), value.decode("utf-8", "replace")
    kind = _CONTENT_TYPE.search(head)
    return _text(name[1]), FormFile(
        _text(file_name[1]), kind[1].decode("latin-1").strip() if kind else "application/octet-stream", value
    )


def _text(quoted: bytes) -> str:
    return quoted.decode("utf-8", "replace").replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _flat(values: tuple[Any, ...]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, list) else (value,)


def _is_empty(value: Any) -> bool:
    return not value.body if isinstance(value, FormFile) else value is None or value == ""
