"""`KEY.status.json` beside an object that starts a batch: the result for the person who put the object there.

    {"version": 1, "object": "s3://…", "object_version": "…", "at": "…",
     "status": "accepted", "batch_id": "…", "output": "s3://…/",
     "batch_status": "succeeded", "counts": {…}, "results": "s3://…/results.json"}     once the batch has ended
    {…, "status": "rejected", "errors": [{"file", "line", "column", "message"}]}
    {…, "status": "waiting", "reason": "…"}                     until the next day, by batches_per_day of the rule

Each write has the condition that the file did not change since it was read, so that a late write does not replace a
newer one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipeline.domain.model import BatchRow
from pipeline.domain.results import results_uri, timestamp
from pipeline.errors import Problem, StorageError
from pipeline.storage.s3 import Storage
from pipeline.triggers.object_version import ObjectVersion, status_uri, version_of

MAX_ERRORS = 1000
"""How many problems of a manifest the file has."""
_MAX_BYTES = 1024 * 1024
_MAX_ATTEMPTS = 5

Document = Mapping[str, Any]


class StatusFiles:
    """Reads and writes status files. Every method may raise StorageError."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def accepted(self, version: ObjectVersion, batch_id: str, output: str) -> None:
        """Write that the object is a batch, or part of one."""
        fields = {"status": "accepted", "batch_id": batch_id, "output": output}
        # A file that already names the batch may have its end.
        self._write(version, fields, unless=lambda before: before.get("batch_id") == batch_id)

    def rejected(self, version: ObjectVersion, problems: Sequence[Problem]) -> None:
        """Write that the object starts nothing, and why."""
        errors = [asdict(problem) for problem in problems[:MAX_ERRORS]]
        fields = {"status": "rejected", "errors": errors, "error_count": len(problems)}
        self._write(version, fields, unless=lambda before: _is_of(before, version) and before.get("errors") == errors)

    def waiting(self, version: ObjectVersion, reason: str) -> None:
        """Write why the object starts nothing yet."""
        fields = {"status": "waiting", "reason": reason}
        self._write(version, fields, unless=lambda before: _is_of(before, version) and before.get("reason") == reason)

    def ended(self, version: ObjectVersion, batch: BatchRow) -> None:
        """Write that the object's batch has ended, unless a newer version of the object has replaced it.

        A batch of which nothing was started has no results.
        """
        fields = {
            "status": "accepted",
            "batch_id": batch.id,
            "output": batch.output,
            "batch_status": batch.status,
            "counts": dict(batch.counts),
            "revision": batch.revision,
            **({"results": results_uri(batch)} if batch.is_accepted else {}),
        }
        self._write(version, fields, unless=lambda before: not _is_of(before, version) and self._is_replaced(version))

    def batch_of(self, version: ObjectVersion) -> str | None:
        """Return the batch that the object was accepted for, None if S3 records none."""
        before, _ = self._read(version)
        batch_id = before.get("batch_id") if _is_of(before, version) else None
        return batch_id if isinstance(batch_id, str) else None

    def _write(self, version: ObjectVersion, fields: Document, *, unless: Callable[[Document], bool]) -> None:
        document = {
            "version": 1,
            "object": version.uri,
            "object_version": version.version,
            "at": timestamp(datetime.now(UTC)),
            **fields,
        }
        uri = status_uri(version.uri)
        text = json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace")
        for _ in range(_MAX_ATTEMPTS):
            before, etag = self._read(version)
            if unless(before) or self._storage.put_if_match(uri, io.BytesIO(text), "application/json", etag):
                return
        raise StorageError(f"{uri} changed during each of {_MAX_ATTEMPTS} writes. Try again.", retryable=True)

    def _read(self, version: ObjectVersion) -> tuple[Document, str | None]:
        """Return the file's content and its ETag."""
        stored = self._storage.get_with_info(status_uri(version.uri), _MAX_BYTES)
        if stored is None:
            return {}, None
        info, text = stored
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = {}
        return (document if isinstance(document, dict) else {}), info.etag

    def _is_replaced(self, version: ObjectVersion) -> bool:
        info = self._storage.info(version.uri)
        # A rule may identify versions by their ETag alone.
        return info is not None and version.version not in (info.version, version_of("", info.etag))


def _is_of(document: Document, version: ObjectVersion) -> bool:
    return document.get("object_version") == version.version
