"""A manifest that is written out as YAML and parsed again."""

from __future__ import annotations

from dataclasses import replace

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.manifests import HEAD, ONE, WHOLE, parse_manifest

from pipeline.domain.model import Item, Limits, Manifest
from pipeline.manifest.parser import dump
from pipeline.manifest.yaml.decoder import BAD_TEXT

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\x85\u2028\ufeff\n\t\"\\'#:{}[]&*!%@`-"),
    max_size=30,
).filter(lambda text: BAD_TEXT.search(text) is None)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
PARAMS = st.dictionaries(
    TEXT.filter(lambda name: name not in ("", "prompt", "callbackUrl", "projectid", "x", "xUrl", "<<")),
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
IMAGES = st.sampled_from(["https://e.com/ü.jpg?x#y", "s3://bucket/a\u2028b \x85'\".png", "http://[::1]:80/1"])


@st.composite
def whole_manifests(draw: st.DrawFn) -> Manifest:
    ids = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    some = st.none() | TEXT.filter(bool)
    items = [Item(each, draw(IMAGES), draw(some), draw(PARAMS)) for each in ids]
    limits = Limits(
        max_active=draw(st.none() | st.integers(1, 100_000)),
        budget_usd=draw(st.none() | st.decimals("0.000000000001", 9_000_000, places=12)),
        attempts=draw(st.integers(1, 20)),
        tolerated_failures=draw(st.sampled_from([None, "0", "10", "10%", "2.5%", "100%"])),
        deadline_s=draw(st.none() | st.integers(1, 10**6 - 1).map(float)),
    )
    name = draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True))
    output = draw(st.sampled_from([None, "s3://bucket/", "s3://bucket/a b/é#/"]))
    notify = draw(st.sampled_from([None, "https://e.com/hook?a=b#c", "http://127.0.0.1:9/x"]))
    return Manifest(name, "owner/model", output, "x", draw(PARAMS), limits, notify, tuple(items))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(whole_manifests())
def test_a_dumped_manifest_parses_to_an_equal_manifest(manifest: Manifest) -> None:
    assert parse_manifest(dump(manifest)) == manifest


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(whole_manifests())
def test_a_dumped_manifest_is_standard_yaml(manifest: Manifest) -> None:
    document = yaml.safe_load(dump(manifest))
    assert [entry["id"] for entry in document["items"]] == [item.id for item in manifest.items]
    assert [entry.get("prompt") for entry in document["items"]] == [item.prompt for item in manifest.items]


def test_derived_ids_stay_when_a_dumped_manifest_is_parsed() -> None:
    manifest = parse_manifest(WHOLE, {"rows.csv": b"prompt\nx\nx\n"})
    assert parse_manifest(dump(manifest)) == manifest
    assert dump(parse_manifest(dump(manifest))) == dump(manifest)
    assert b"\n- {" in dump(replace(manifest, items=manifest.items[:1]))


def test_a_long_deadline_stays_when_a_dumped_manifest_is_parsed() -> None:
    manifest = parse_manifest(f"{HEAD}limits: {{deadline: 300d}}\n{ONE}")
    assert parse_manifest(dump(manifest)).limits.deadline_s == 300 * 86_400
