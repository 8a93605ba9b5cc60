"""`KEY.status.json` beside a dropped object: what became of it, for whoever dropped it.

    {"version": 1, "object": "s3://…", "object_version": "…", "at": "…",
     "status": "accepted", "batch_id": "…", "output": "s3://…/",
     "batch_status": "succeeded", "counts": {…}, "results": "s3://…/results.json"}     once the batch has ended
    {…, "status": "rejected", "errors": [{"file", "line", "column", "message"}]}

Every write is on the condition that nobody wrote meanwhile, so that late words do not replace later ones.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipeline.domain.model import BatchRow
from pipeline.errors import Problem, StorageError
from pipeline.storage.s3 import Storage
from pipeline.triggers.object_version import ObjectVersion, status_uri

MAX_ERRORS = 1000
"""As many mistakes of a manifest as are told."""
_MAX_BYTES = 1024 * 1024
_ATTEMPTS = 5

Document = Mapping[str, Any]


class StatusFiles:
    """Writes and reads them. Every method may raise StorageError."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def accepted(self, version: ObjectVersion, batch_id: str, output: str) -> None:
        """The drop is a batch, or part of one."""
        told = {"status": "accepted", "batch_id": batch_id, "output": output}
        # One that already names the batch may be about its end.
        self._write(version, told, unless=lambda before: before.get("batch_id") == batch_id)

    def rejected(self, version: ObjectVersion, problems: Sequence[Problem]) -> None:
        """The drop starts nothing, and why."""
        errors = [asdict(problem) for problem in problems[:MAX_ERRORS]]
        told = {"status": "rejected", "errors": errors, "error_count": len(problems)}
        self._write(version, told, unless=lambda before: _about(before, version) and before.get("errors") == errors)

    def ended(self, version: ObjectVersion, batch: BatchRow, results: str) -> None:
        """The batch of the drop has ended. Says nothing where another version of the object lies by now."""
        told = {
            "status": "accepted",
            "batch_id": batch.id,
            "output": batch.output,
            "batch_status": batch.status,
            "counts": dict(batch.counts),
            "revision": batch.revision,
            "results": results,
        }
        self._write(version, told, unless=lambda before: not _about(before, version) and self._replaced(version))

    def batch_of(self, version: ObjectVersion) -> str | None:
        """The batch that the drop was accepted for, as far as S3 knows."""
        before, _ = self._read(version)
        batch_id = before.get("batch_id") if _about(before, version) else None
        return batch_id if isinstance(batch_id, str) else None

    def _write(self, version: ObjectVersion, told: Document, *, unless: Callable[[Document], bool]) -> None:
        document = {
            "version": 1,
            "object": version.uri,
            "object_version": version.version,
            "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            **told,
        }
        text = json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace")
        for _ in range(_ATTEMPTS):
            before, etag = self._read(version)
            if unless(before):
                return
            if self._storage.put_if_match(status_uri(version.uri), io.BytesIO(text), "application/json", etag):
                return
        raise StorageError(f"{status_uri(version.uri)} is written by others all the time.", retryable=True)

    def _read(self, version: ObjectVersion) -> tuple[Document, str | None]:
        found = self._storage.get_with_info(status_uri(version.uri), _MAX_BYTES)
        if found is None:
            return {}, None
        info, text = found
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = {}
        return (document if isinstance(document, dict) else {}), info.etag

    def _replaced(self, version: ObjectVersion) -> bool:
        info = self._storage.info(version.uri)
        return info is not None and version_of(info.version, info.etag) != version.version


def version_of(version_id: str, etag: str) -> str:
    """What tells an object's version: its version id, in a bucket without versions its ETag."""
    return version_id or etag.strip('"')


def _about(document: Document, version: ObjectVersion) -> bool:
    return document.get("object_version") == version.version
