"""Which `s3://` addresses are well-formed, and how schemes of addresses are compared. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

_BUCKET = r"s3://[A-Za-z0-9][A-Za-z0-9._-]{2,62}/"
"""3 to 63 characters, as S3 requires; some S3 servers allow upper-case letters and '_'."""
_FOLDER = re.compile(_BUCKET + r"([^/\\]+/)*")
_PREFIX = re.compile(_BUCKET + r"[^\x00-\x1f\x7f]*/?")
# Some stores resolve '..' in a key, which would lead out of the bucket.
_OBJECT = re.compile(r"(?!.*/\.\.?(/|$))" + _BUCKET + r"[^\x00-\x1f\x7f]{1,1024}")

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)


def lower_scheme(text: str) -> str:
    """Return an address with its scheme in lower case: `HTTPS://` and `S3://` are valid. Other text stays as it is."""
    scheme = _SCHEME.match(text)
    return scheme[0].lower() + text[scheme.end() :] if scheme else text


def is_object_uri(uri: str) -> bool:
    """Return whether `uri` is `s3://bucket/key`."""
    return _OBJECT.fullmatch(uri) is not None


def is_prefix_uri(uri: str) -> bool:
    """Return whether `uri` is `s3://bucket/prefix/`, with any key characters in the prefix."""
    return _PREFIX.fullmatch(uri) is not None


def is_below(uri: str, prefixes: Iterable[str]) -> bool:
    """Return whether `uri`, an object or a prefix, is below one of `prefixes`, each `s3://bucket/…/`.

    Keys that a server between might resolve to another one are not: `..`, empty steps, encoded slashes.
    """
    return is_prefix_uri(uri) and any(
        prefix.endswith("/") and uri.startswith(prefix) and _is_plain(uri.removeprefix(prefix)) for prefix in prefixes
    )


def _is_plain(path: str) -> bool:
    steps = [unquote(step) for step in path.removesuffix("/").split("/")] if path else []
    return not any(step in ("", ".", "..") or "/" in step or "\\" in step for step in steps)


def is_folder_uri(uri: str) -> bool:
    """Return whether `uri` is `s3://bucket/folder/`: also a path that is safe to create on a file system."""
    steps = uri.split("/")[3:-1]
    return bool(_FOLDER.fullmatch(uri)) and "." not in steps and ".." not in steps and uri.isprintable()
