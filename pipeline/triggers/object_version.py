"""Versions of objects below a watched prefix, and the ids of their batches. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

STATUS_SUFFIX = ".status.json"
DEFAULTS = "_defaults.yaml"
"""The manifest keys that the rows beside it have in common. It starts nothing itself."""
MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
_ID_DIGITS = 12


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object. `version`: its version id, or its ETag in a bucket without versions."""

    bucket: str
    key: str
    version: str

    @property
    def uri(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def digest(self) -> str:
        """The identity of this version, as SHA-256."""
        return hashlib.sha256("\0".join((self.bucket, self.key, self.version)).encode()).hexdigest()

    @property
    def suffix(self) -> str:
        """The ending of the key in lower case, such as `.yaml`."""
        return PurePosixPath(self.key).suffix.lower()


def version_of(version_id: str, etag: str) -> str:
    """Return what identifies a version of an object: its version id, or its ETag in a bucket without versions."""
    return version_id or etag.strip('"')


def batch_id(trigger: str, versions: Collection[ObjectVersion]) -> str:
    """Return the id of the batch of these versions. It does not depend on their order."""
    digests = sorted(version.digest for version in versions)
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return f"{trigger}-{digest[:_ID_DIGITS]}"


def status_uri(uri: str) -> str:
    """Return the address of the status file of the object at `uri`."""
    return uri + STATUS_SUFFIX
