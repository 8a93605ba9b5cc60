"""A drop's content → a Manifest: what was dropped reads no file of the server, and only buckets on the list."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pipeline.domain.model import Manifest
from pipeline.errors import InvalidManifest, Problem
from pipeline.manifest import parser as manifests
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.manifest.yaml import document as yaml_document
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.object_version import DEFAULTS, ROWS_SUFFIXES, ObjectVersion
from pipeline.triggers.rule import Rule

MAX_MANIFEST_BYTES = 32 * 1024 * 1024
_MAX_DEFAULTS_BYTES = 1024 * 1024


class ObjectManifestReader:
    """Reads drops of a rule."""

    def __init__(self, settings: Settings, storage: Storage, rule: Rule) -> None:
        self._storage = storage
        self._rule = rule
        self._intake = UntrustedManifests(settings, storage, also=[rule.bucket])

    def manifest(self, drop: ObjectVersion, text: bytes) -> Manifest:
        """What was dropped. Raises InvalidManifest with all its problems; StorageError."""
        if not text:
            raise InvalidManifest([_problem(drop.uri, "the object is empty: it was cut off, or put by mistake")])
        if len(text) > MAX_MANIFEST_BYTES:
            raise InvalidManifest([_problem(drop.uri, f"is larger than {MAX_MANIFEST_BYTES:,} bytes")])
        is_rows = drop.suffix in ROWS_SUFFIXES
        manifest = self._rows(drop) if is_rows else self._intake.read(text, file=drop.uri)
        problems = list(self._loops(drop, manifest))
        if problems:
            raise InvalidManifest(problems)
        return manifest

    def _rows(self, drop: ObjectVersion) -> Manifest:
        """Rows with what they have in common."""
        folder = drop.uri.rpartition("/")[0]
        file = f"{folder}/{DEFAULTS}"
        defaults = self._storage.get(file, max_bytes=_MAX_DEFAULTS_BYTES)
        if defaults is None:
            why = f"rows start a batch with a {DEFAULTS} beside them; {file} is not there"
            raise InvalidManifest([_problem(drop.uri, why)])
        return self._intake.read(_with_rows(defaults, file, drop.uri), file=file)

    def _loops(self, drop: ObjectVersion, manifest: Manifest) -> Iterator[Problem]:
        if manifest.output and manifest.output.startswith(self._rule.watch):
            yield _problem(drop.uri, f"output lies under {self._rule.watch}, which is watched: choose another place")


def of_images(rule: Rule, uris: list[str]) -> Manifest:
    """Every image with every prompt of the rule."""
    document = {
        "version": 1,
        "name": rule.name,
        **json.loads(rule.head),
        "matrix": {"images": uris, "prompts": list(rule.prompts)},
        **({"output": rule.output} if rule.output else {}),
    }
    text = json.dumps(document, ensure_ascii=False).encode()
    return manifests.parse(text, file=f"trigger {rule.name}", read_rows=_no_rows, local_files=None)


def _no_rows(reference: str) -> bytes:
    raise FileNotFoundError(reference)


def _with_rows(defaults: bytes, file: str, rows: str) -> bytes:
    """The defaults as a manifest of `rows`. Appended, so that mistakes keep their lines, where that is possible."""
    document = yaml_document.load(defaults, file=file)
    if document.problems:
        raise InvalidManifest(document.problems)
    values = {} if document.value is None else document.value
    if not isinstance(values, dict):
        raise InvalidManifest([_problem(file, "must be a mapping of what the rows have in common")])
    wanted = {**values, "items_from": rows}
    appended = defaults.rstrip() + f"\nitems_from: {json.dumps(rows)}\n".encode()
    if yaml_document.load(appended, file=file).value == wanted:
        return appended
    return json.dumps(wanted, ensure_ascii=False).encode()


def _problem(file: str, message: str) -> Problem:
    return Problem(file, 1, 1, message)
