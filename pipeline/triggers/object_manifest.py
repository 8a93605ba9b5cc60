"""The content of an object becomes a Manifest. It cannot read local files, and names only allowed prefixes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from pipeline.domain.limits import capped
from pipeline.domain.model import Manifest
from pipeline.errors import InvalidManifest, Problem
from pipeline.manifest import parser as manifests
from pipeline.manifest.model_check import SchemaOf
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.manifest.validators import ROWS_SUFFIXES
from pipeline.manifest.yaml import document as yaml_document
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.object_version import DEFAULTS, ObjectVersion
from pipeline.triggers.rule import Rule

MAX_MANIFEST_BYTES = 32 * 1024 * 1024
_MAX_DEFAULTS_BYTES = 1024 * 1024


class ObjectManifestReader:
    """Reads the manifests and rows that start batches of a rule."""

    def __init__(self, settings: Settings, storage: Storage, schema_of: SchemaOf, rule: Rule) -> None:
        self._storage = storage
        self._rule = rule
        self._manifests = UntrustedManifests(settings, storage, schema_of, also=[rule.watch])

    def manifest(self, version: ObjectVersion, text: bytes) -> Manifest:
        """Return the manifest of an object with this content, its limits under those of the rule.

        Raises InvalidManifest, StorageError.
        """
        if not text:
            raise InvalidManifest([_problem(version.uri, "the object is empty: upload it again")])
        if len(text) > MAX_MANIFEST_BYTES:
            message = f"the object is too large: the maximum is {MAX_MANIFEST_BYTES:,} bytes"
            raise InvalidManifest([_problem(version.uri, message)])
        is_rows = version.suffix in ROWS_SUFFIXES
        manifest = self._with_defaults(version) if is_rows else self._manifests.read(text, file=version.uri)
        problems = list(self._output_problems(version, manifest))
        if problems:
            raise InvalidManifest(problems)
        if self._rule.limits is None:
            return manifest
        return replace(manifest, limits=capped(manifest.limits, self._rule.limits, len(manifest.items)))

    def _with_defaults(self, rows: ObjectVersion) -> Manifest:
        """Return the manifest of a file of rows and the defaults beside it."""
        folder = rows.uri.rpartition("/")[0]
        file = f"{folder}/{DEFAULTS}"
        defaults = self._storage.get(file, max_bytes=_MAX_DEFAULTS_BYTES)
        if defaults is None:
            message = f"rows need a {DEFAULTS} beside them: {file} does not exist"
            raise InvalidManifest([_problem(rows.uri, message)])
        return self._manifests.read(_add_rows(defaults, file, rows.uri), file=file)

    def _output_problems(self, version: ObjectVersion, manifest: Manifest) -> Iterator[Problem]:
        if manifest.output and manifest.output.startswith(self._rule.watch):
            message = f"output is below the watched prefix {self._rule.watch}: choose another place"
            yield _problem(version.uri, message)


def images_manifest(rule: Rule, uris: list[str], schema_of: SchemaOf | None = None) -> Manifest:
    """Return the manifest of every image with every prompt of the rule. Raises InvalidManifest."""
    document = {
        "version": 1,
        "name": rule.name,
        **json.loads(rule.manifest_settings),
        "matrix": {"images": uris, "prompts": list(rule.prompts)},
        **({"output": rule.output} if rule.output else {}),
    }
    text = json.dumps(document, ensure_ascii=False).encode()
    return manifests.parse(text, file=f"trigger {rule.name}", read_rows=_no_rows, local_files=None, schema_of=schema_of)


def _no_rows(reference: str) -> bytes:
    raise FileNotFoundError(reference)


def _add_rows(defaults: bytes, file: str, rows: str) -> bytes:
    """Return the defaults as a manifest of `rows`, as an added line if possible: then problems keep their lines."""
    document = yaml_document.load(defaults, file=file)
    if document.problems:
        raise InvalidManifest(document.problems)
    values = {} if document.value is None else document.value
    if not isinstance(values, dict):
        raise InvalidManifest([_problem(file, "the file must be a mapping of keys that the rows have in common")])
    manifest = {**values, "items_from": rows}
    with_line = defaults.rstrip() + f"\nitems_from: {json.dumps(rows)}\n".encode()
    if yaml_document.load(with_line, file=file).value == manifest:
        return with_line
    return json.dumps(manifest, ensure_ascii=False).encode()


def _problem(file: str, message: str) -> Problem:
    return Problem(file, 1, 1, message)
