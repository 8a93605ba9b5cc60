"""Listings of objects below a prefix, complete with every server.

Servers answer ListObjectsV2 with a document of version 1, with a page that is not the last one and has no continuation
token, or with encoded keys without `EncodingType`. If the next page cannot be requested, that is an error: in a listing
that ends too early, objects are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipeline.errors import StorageError
from pipeline.storage.s3_errors import none_if_missing, translate_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")

Page = Mapping[str, Any]
Entry = Mapping[str, Any]


def entries(client: S3Client, bucket: str, prefix: str) -> Iterator[Entry]:
    """Yield the entries of all objects in `bucket` below `prefix`, as boto3 returns them. Raises StorageError."""
    uri = f"s3://{bucket}/{prefix}"
    list_page: Any = client.list_objects_v2
    start: dict[str, str] = {}
    while True:
        with translate_errors(uri):
            page = list_page(Bucket=bucket, Prefix=prefix, **start)
            contents = _decoded(client, bucket, prefix, page)
        yield from contents
        following = _following(page, contents)
        if following is None:
            return
        if not following or following == start:
            raise StorageError(
                f"The listing of {uri} is incomplete: S3 reports more objects, but not where the listing continues.",
                retryable=True,
            )
        # Version 1 continues after a key, and every server supports it.
        list_page = client.list_objects if "Marker" in following else client.list_objects_v2
        start = following


def _following(page: Page, contents: Sequence[Entry]) -> dict[str, str] | None:
    """Return the parameters of the next page; None after the last one; no parameters if the page names none."""
    if token := page.get("NextContinuationToken"):
        return {"ContinuationToken": token}
    if not page.get("IsTruncated"):
        return None
    marker = contents[-1]["Key"] if contents else page.get("NextMarker")
    return {"Marker": marker} if marker else {}


def _decoded(client: S3Client, bucket: str, prefix: str, page: Page) -> Sequence[Entry]:
    """Return the entries of a page. boto3 has decoded the keys if the response has `EncodingType`."""
    contents: Sequence[Entry] = page.get("Contents", [])
    if page.get("EncodingType") == "url" or not _is_encoded(client, bucket, prefix, [one["Key"] for one in contents]):
        return contents
    return [{**entry, "Key": unquote(entry["Key"])} for entry in contents]


def _is_encoded(client: S3Client, bucket: str, prefix: str, keys: Sequence[str]) -> bool:
    """Return whether a server has encoded keys without `EncodingType`: the prefix shows it, or a request for one."""
    if any(not key.startswith(prefix) for key in keys):
        return all(unquote(key).startswith(prefix) for key in keys)
    key = next((key for key in keys if _ESCAPE.search(key)), None)
    return key is not None and not _exists(client, bucket, key) and _exists(client, bucket, unquote(key))


def _exists(client: S3Client, bucket: str, key: str) -> bool:
    return none_if_missing(lambda: client.head_object(Bucket=bucket, Key=key)) is not None
