"""Drops: versions of objects that somebody put where a trigger watches, and the ids of their batches. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

STATUS_SUFFIX = ".status.json"
DEFAULTS = "_defaults.yaml"
"""What the rows beside it have in common: read with them, starts nothing itself."""
MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
ROWS_SUFFIXES = (".csv", ".jsonl")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif")
_ID_DIGITS = 12


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object. `version` is its version id, in a bucket without versions its ETag."""

    bucket: str
    key: str
    version: str

    @property
    def uri(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def digest(self) -> str:
        """What tells this version from every other one."""
        return hashlib.sha256("\0".join((self.bucket, self.key, self.version)).encode()).hexdigest()

    @property
    def suffix(self) -> str:
        """The ending of the key's name, in small letters."""
        return PurePosixPath(self.key).suffix.lower()


def batch_id(trigger: str, drops: Collection[ObjectVersion]) -> str:
    """The id of the batch that these drops are, whoever puts them together and however often."""
    digests = sorted(drop.digest for drop in drops)
    whole = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return f"{trigger}-{whole[:_ID_DIGITS]}"


def status_uri(uri: str) -> str:
    """Where what became of the object at `uri` is told."""
    return uri + STATUS_SUFFIX
