"""What differs between two manifests, in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.ended_batch import a_manifest

from pipeline.domain.model import Limits
from pipeline.manifest.difference import difference

BEFORE = a_manifest(one="p", two="q")


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (BEFORE, ""),
        (a_manifest(one="p", two="other"), "item two: prompt differs"),
        (a_manifest(one="p", two="q", three="r"), "items: 2 before, 3 now; item three: not there before"),
        (a_manifest(one="p"), "items: 2 before, 1 now; item two: not there now"),
        (a_manifest(two="q", one="p"), "items: in another order"),
        (replace(BEFORE, model="a/b", limits=Limits(attempts=1)), "limits: differs; model: m/n before, a/b now"),
        (replace(BEFORE, model="M/N"), ""),
        (replace(BEFORE, image_field="inputImage", reuse=True), "image_field: differs; reuse: differs"),
        (replace(BEFORE, items=(replace(BEFORE.items[0], prompt="", image="s3://b/1.jpg"), BEFORE.items[1])),
         "item one: image, prompt differ"),
    ],
)  # fmt: skip
def test_a_difference_is_named(now: object, words: str) -> None:
    assert difference(BEFORE, now) == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "now", "differs"), [(True, 1, True), (5, 5.0, False), ("5", 5, False), (5, 6, True), (None, "", False)]
)
def test_params_are_compared_as_the_vendor_receives_them(before: object, now: object, differs: bool) -> None:
    pair = (replace(BEFORE, params={"duration": before}), replace(BEFORE, params={"duration": now}))
    assert difference(*pair) == ("params: differs" if differs else "")
    items = (replace(BEFORE, items=(replace(BEFORE.items[0], params=one.params),)) for one in pair)
    assert difference(*items) == ("item one: params differs" if differs else "")


def test_a_long_list_is_cut() -> None:
    now = a_manifest(**{f"i{n}": "p" for n in range(100)})
    assert difference(a_manifest(), now).endswith("item i2: not there before; and 97 more")
