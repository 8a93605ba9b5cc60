"""Which runs are the same: the digest that the index of reusable outputs is searched with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.batches.reuse_keys import reuse_key, stored_digest
from pipeline.domain.model import Item
from pipeline.ledger.records import BatchConfig
from pipeline.manifest.model_check import default_params
from pipeline.wiro.model_schema import parse_model_schema

PARAMETERS = [
    {"id": "seconds", "type": "range", "default": "6.0"},
    {"id": "ratio", "type": "select", "default": "16:9"},
    {"id": "prompt", "type": "textarea", "default": "An example"},
    {"id": "inputImage", "type": "fileinput", "default": "https://example.com/example.jpg"},
    {"id": "seed", "type": "range", "default": ""},
]
DEFAULTS = default_params(parse_model_schema({"parameters": [{"items": PARAMETERS}]}, "owner/model"))
CONFIG = BatchConfig("owner/model", "inputImage", {}, 3, "s3://bucket/b/", None, defaults=DEFAULTS)
IMAGES = {"a.jpg": ("sha256", "1"), "b.jpg": ("sha256", "2"), "gone.jpg": None}


def key(params: dict[str, Any] | None = None, *, config: BatchConfig = CONFIG, **item: Any) -> str:
    return reuse_key(config, Item("id", **{"image": "a.jpg", "prompt": "p", "params": params or {}, **item}), IMAGES)


def test_examples_of_a_schema_are_no_defaults() -> None:
    assert DEFAULTS == {"seconds": 6.0, "ratio": "16:9"}


@pytest.mark.parametrize("params", [{"seconds": 6}, {"seconds": 6.0, "ratio": "16:9"}, {"seconds": "6"}])
def test_a_default_that_is_written_is_the_same_as_one_that_is_left_out(params: dict[str, Any]) -> None:
    assert key(params) == key()
    assert key(config=replace(CONFIG, params=params)) == key()


def test_the_model_is_compared_without_case() -> None:
    assert key(config=replace(CONFIG, model="Owner/Model")) == key()


def test_whatever_changes_the_run_changes_its_digest() -> None:
    others = [
        key({"seconds": 10}),
        key({"seed": 1}),
        key(prompt="q"),
        key(prompt=None),
        key(image="b.jpg"),
        key(image=None),
        key(config=replace(CONFIG, model="owner/other")),
        key(config=replace(CONFIG, image_field="inputImageLast")),
    ]
    assert len({key(), *others}) == len(others) + 1


def test_a_run_whose_image_is_not_known_has_no_digest() -> None:
    assert key(image="gone.jpg") == key(image="never-seen.jpg") == ""


def test_only_names_below_the_prefixes_of_the_service_are_trusted() -> None:
    digest = "a" * 64
    assert stored_digest(f"s3://bucket/out/b/inputs/{digest}.jpg", ["s3://bucket/out/"]) == digest
    assert stored_digest(f"s3://other/out/b/inputs/{digest}.jpg", ["s3://bucket/out/"]) is None
