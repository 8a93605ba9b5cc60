"""The key `reuse` of manifests and rules, and what a recovery reads of reused items."""

from __future__ import annotations

import json

import pytest
from support.manifests import parse_manifest

from pipeline.batches.history import read_history
from pipeline.domain.states import ItemState
from pipeline.errors import InvalidManifest
from pipeline.manifest.parser import dump
from pipeline.triggers.object_manifest import images_manifest
from pipeline.triggers.schema import parse_triggers

TEXT = "version: 1\nname: la\nreuse: {}\nitems: [{{id: a, prompt: p}}]\n"
REUSE = {
    "do": "reuse",
    "item": "a",
    "attempt": 0,
    "reuse_key": "k",
    "reused_from": "first/a",
    "task": "7",
    "outcome": {"status": "succeeded", "elapsed_s": "1", "outputs": []},
}


def test_reuse_is_off_by_default_and_survives_a_dump() -> None:
    manifest = parse_manifest(TEXT.format("true"))
    assert manifest.reuse
    assert parse_manifest(dump(manifest)) == manifest
    plain = parse_manifest(TEXT.format("false"))
    assert not plain.reuse
    assert b"reuse" not in dump(plain)


def test_reuse_must_be_true_or_false() -> None:
    with pytest.raises(InvalidManifest, match="reuse"):
        parse_manifest(TEXT.format("often"))


def test_a_rule_for_images_can_reuse_outputs() -> None:
    rule = {"name": "faces", "source": "push", "watch": "s3://bucket/in/", "start": "images", "prompts": ["p"]}
    (parsed,) = parse_triggers(json.dumps({"triggers": [{**rule, "reuse": True}]}).encode(), file="t.yaml")
    assert images_manifest(parsed, ["s3://bucket/in/a.jpg"]).reuse


def test_a_recovery_copies_what_was_given_out_and_does_not_buy_it() -> None:
    manifest = parse_manifest(TEXT.format("true"))
    restored = read_history(manifest, [], [REUSE]).items["a"].restored()
    assert (restored["state"], restored["task"], restored["reused_from"]) == (ItemState.COLLECTING, "7", "first/a")
    assert restored["source"] == REUSE["outcome"]
    run = {"do": "run", "item": "a", "attempt": 1}
    later = read_history(manifest, [], [REUSE, run]).items["a"].restored()
    assert (later["state"], later["reused_from"]) == (ItemState.UNKNOWN, None)
