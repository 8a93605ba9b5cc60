"""Manifests that come from outside, by HTTP or S3: they read nothing of this machine, and only buckets on the list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pipeline.domain.model import Manifest
from pipeline.errors import DailiesError, InvalidManifest, Problem
from pipeline.manifest import parser as manifests
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage, split


class UntrustedManifests:
    """Reads manifests that nobody vouches for. `also` are further buckets that they may name."""

    def __init__(self, settings: Settings, storage: Storage, also: Iterable[str] = ()) -> None:
        self._storage = storage
        self._buckets = {*settings.buckets, *also}
        if settings.output:
            self._buckets.add(split(settings.output)[0])

    def read(self, text: bytes, *, file: str, fill: Callable[[str], str] | None = None) -> Manifest:
        """The manifest in `text`, called `file` in messages, its texts filled in by `fill` if that is given.

        Rows may lie beside it where `file` is an `s3://` address. Raises InvalidManifest with all its problems.
        """
        manifest = manifests.parse(
            text, file=file, read_rows=lambda name: self._rows(_beside(file, name)), local_files=None, fill=fill
        )
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


def _beside(file: str, reference: str) -> str:
    """The address of what a manifest on S3 names without one."""
    if "://" in reference or not file.startswith("s3://"):
        return reference
    return f"{file.rpartition('/')[0]}/{reference}"


def _problem(text: bytes, file: str, uri: str, why: str) -> Problem:
    """A problem where `uri` first stands in the manifest; at its beginning when it is made of several parts."""
    at = max(text.find(uri.encode()), 0)
    line_start = text.rfind(b"\n", 0, at) + 1
    column = len(text[line_start:at].decode("utf-8", "replace")) + 1
    return Problem(file, text.count(b"\n", 0, at) + 1, column, why)
