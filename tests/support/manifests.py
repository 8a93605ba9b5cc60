"""Manifests of a test: parsed, or their problems as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.domain.model import Item, Manifest
from pipeline.errors import InvalidManifest
from pipeline.manifest import parser as manifests

HEAD = "version: 1\nname: m\n"
ONE = "items: [{id: a, prompt: x}]\n"


def parse_manifest(text: str | bytes, rows: dict[str, bytes] | None = None, folder: Path | None = None) -> Manifest:
    data = text.encode() if isinstance(text, str) else text
    return manifests.parse(data, file="m.yaml", read_rows=(rows or {}).__getitem__, local_files=folder)


def all_problems(text: str | bytes, rows: dict[str, bytes] | None = None, folder: Path | None = None) -> list[str]:
    with pytest.raises(InvalidManifest) as caught:
        parse_manifest(text, rows, folder)
    return [str(problem) for problem in caught.value.problems]


def only_problem(text: str | bytes, **more: Any) -> str:
    (only,) = all_problems(text, **more)
    return only


def an_item(item: str, **more: Any) -> Item:
    return parse_manifest(f"{HEAD}items:\n  - {item}\n", **more).items[0]


WHOLE = """\
version: 1
name: la-street
model: owner/model-1.5
output: s3://bucket/prefix
image_field: inputImage
params: {resolution: 1080p, ratio: 16:9, seed: 7, loop: no}
limits: {max_active: 10, budget_usd: 25.00, attempts: 5, tolerated_failures: 10%, deadline: 2h}
notify: https://example.com/hook
items:
  - {id: 007, image: "https://e.com/1.jpg", prompt: "A street", params: {seed: 1, tags: [a, {b: null}]}}
  - {image: s3://bucket/faces/2 ü.jpg}
  - {prompt: 1984, image: }
matrix: {images: [https://e.com/a.jpg, http://e.com/b.jpg], prompts: [one, "two\\n"]}
items_from: rows.csv
"""
