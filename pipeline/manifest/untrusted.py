"""Manifests that arrive by HTTP or S3: they cannot read local files, and name only S3 prefixes of the allow-list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import structlog

from pipeline.domain.model import Manifest
from pipeline.domain.s3_names import is_below
from pipeline.errors import DailiesError, InvalidManifest, Problem
from pipeline.manifest import parser as manifests
from pipeline.manifest.model_check import SchemaOf
from pipeline.manifest.template import Fill
from pipeline.manifest.uploaded_images import UploadedImages
from pipeline.manifest.yaml.decoder import shown
from pipeline.manifest.yaml.document import line_and_column
from pipeline.net.notify_address import notify_refusal
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage

log = structlog.get_logger()


class UntrustedManifests:
    """Reads manifests of unknown origin.

    `schema_of`: returns the schema of a model, None to check nothing against it. `also`: `s3://…/` prefixes that
    manifests may name besides those of the settings.
    """

    def __init__(
        self, settings: Settings, storage: Storage, schema_of: SchemaOf | None, also: Iterable[str] = ()
    ) -> None:
        self._storage = storage
        self._schema_of = schema_of
        self._prefixes = (*settings.prefixes, *also)
        self._notify_hosts = settings.notify_hosts

    def read(
        self, text: bytes, *, file: str, fill: Fill | None = None, images: UploadedImages | None = None
    ) -> Manifest:
        """Return the manifest in `text`, which messages call `file`; `fill` replaces its placeholders.

        `images`: image files that it may name. Those that are not uploaded are in `images.missing` afterwards.
        If `file` is an `s3://` address, rows can be beside it. Raises InvalidManifest with all problems.
        """
        manifest, positions = manifests.parse_with_positions(
            text,
            file=file,
            read_rows=lambda name: self._read_rows(_absolute(file, name)),
            local_files=images,
            fill=fill,
            schema_of=self._schema_of,
        )
        for note in positions.rows.notes:
            log.warning("rows_noted", file=file, note=note)
        problems = [_problem(text, file, uri, self._refusal(uri)) for uri in self._forbidden(manifest)]
        if manifest.notify and (refusal := notify_refusal(manifest.notify, self._notify_hosts)):
            problems.append(_problem(text, file, manifest.notify, refusal))
        if problems:
            raise InvalidManifest(problems)
        return manifest

    def allows(self, uri: str) -> bool:
        """Return whether an `s3://` address is below a prefix of the allow-list."""
        return is_below(uri, self._prefixes)

    def _read_rows(self, reference: str) -> bytes:
        if not reference.startswith("s3://"):
            raise DailiesError(f"{reference} is a file. Put the rows on S3 and write their s3:// address.")
        if not self.allows(reference):
            raise DailiesError(self._refusal(reference))
        data = self._storage.get(reference)
        if data is None:
            raise DailiesError(f"There is no object {reference}.")
        return data

    def _forbidden(self, manifest: Manifest) -> Iterator[str]:
        named = [manifest.output, *(item.image for item in manifest.items)]
        for uri in dict.fromkeys(uri for uri in named if uri):
            if uri.startswith("s3://") and not self.allows(uri):
                yield uri

    def _refusal(self, uri: str) -> str:
        return f"{shown(uri)} is not allowed in a manifest from outside: add its bucket/prefix/ to PIPELINE_BUCKETS"


def _absolute(file: str, reference: str) -> str:
    """Return the address of a reference that is relative to a manifest on S3."""
    if "://" in reference or not file.startswith("s3://"):
        return reference
    return f"{file.rpartition('/')[0]}/{reference}"


def _problem(text: bytes, file: str, uri: str, message: str) -> Problem:
    """Return a problem where `uri` first is in the text; at its beginning if the address is made of several parts."""
    return Problem(file, *line_and_column(text, max(text.lower().find(uri.lower().encode()), 0)), message)
