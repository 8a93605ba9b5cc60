"""Manifests that come from outside, by HTTP or S3: they read nothing of this machine, and only buckets on the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline import manifest as manifests
from pipeline.errors import DailiesError, InvalidManifest, Problem
from pipeline.model import Manifest
from pipeline.settings import Settings
from pipeline.storage import Storage, split


class Intake:
    """Reads manifests that nobody vouches for."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._storage = storage
        self._buckets = set(settings.buckets)
        if settings.output:
            self._buckets.add(split(settings.output)[0])

    def read(self, text: bytes, *, file: str, fill: Callable[[str], str] | None = None) -> Manifest:
        """The manifest in `text`, called `file` in messages, its texts filled in by `fill` if that is given.

        Raises InvalidManifest with all its problems.
        """
        manifest = manifests.parse(text, file=file, read_rows=self._rows, local_files=None, fill=fill)
        strange = list(self._strange(manifest))
        if strange:
            raise InvalidManifest([_problem(text, file, uri, self._why(uri)) for uri in strange])
        return manifest

    def allows(self, uri: str) -> bool:
        """Whether a `s3://` address lies in a bucket that manifests from outside may name."""
        return uri.startswith("s3://") and uri.removeprefix("s3://").partition("/")[0] in self._buckets

    def _rows(self, reference: str) -> bytes:
        if not reference.startswith("s3://"):
            raise DailiesError(f"Rows are read from s3:// only in a manifest that was sent: {reference} is a file.")
        if not self.allows(reference):
            raise DailiesError(self._why(reference))
        data = self._storage.get(reference)
        if data is None:
            raise DailiesError(f"There is no object {reference}.")
        return data

    def _strange(self, manifest: Manifest) -> Iterator[str]:
        named = [manifest.output, *(item.image for item in manifest.items)]
        for uri in dict.fromkeys(uri for uri in named if uri):
            if uri.startswith("s3://") and not self.allows(uri):
                yield uri

    def _why(self, uri: str) -> str:
        bucket = uri.removeprefix("s3://").partition("/")[0]
        return f"the bucket {bucket!r} is not one that a manifest sent to the service may name (PIPELINE_BUCKETS)"


def _problem(text: bytes, file: str, uri: str, why: str) -> Problem:
    """A problem where `uri` first stands in the manifest; at its beginning when it is made of several parts."""
    at = max(text.find(uri.encode()), 0)
    line_start = text.rfind(b"\n", 0, at) + 1
    column = len(text[line_start:at].decode("utf-8", "replace")) + 1
    return Problem(file, text.count(b"\n", 0, at) + 1, column, why)
