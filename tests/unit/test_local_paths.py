"""Paths on this machine for keys of S3: valid everywhere, and no two are the same for any system."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.local_paths import LocalPaths

STEP = st.sampled_from(
    ["a", "A", "\u00fc", "u\u0308", "\u00dc", "CON", "_CON", "a:b", "a_b", "a.", "x.mp4", "a (2)", "\u00df", "SS"]
)
PATHS = st.lists(st.lists(STEP, min_size=1, max_size=3).map("/".join), unique=True, max_size=12)


def paths(*names: str) -> list[str]:
    local = LocalPaths(["results.json"])
    return [local.path(name) for name in names]


def test_a_name_that_all_systems_have_stays() -> None:
    names = ["items/anna/0.mp4", "items/Console.x/0.mp4", "inputs/Zo\u00eb 1.jpg", "a/.b"]
    assert paths(*names) == names


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("items/Anna/0.mp4", "items/anna/0.mp4", "items/anna (2)/0.mp4"),
        ("inputs/\u00fc.jpg", "inputs/u\u0308.jpg", "inputs/u\u0308 (2).jpg"),
        ("inputs/a_b.jpg", "inputs/a:b.jpg", "inputs/a_b (2).jpg"),
        ("a/b", "a/b/c.jpg", "a/b (2)/c.jpg"),
        ("x", "Results.JSON", "Results (2).JSON"),
    ],
)
def test_of_two_names_that_are_the_same_on_some_system_one_is_numbered(first: str, second: str, expected: str) -> None:
    assert paths(first, second, first) == [first, expected, first]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("items/CON/0.mp4", "items/_CON/0.mp4"),
        ("nul.tar.gz", "_nul.tar.gz"),
        ("items/end./0.mp4", "items/end_/0.mp4"),
        ("what?.jpg", "what_.jpg"),
        ("a\\\\b .jpg ", "a__b .jpg_"),
    ],
)
def test_a_name_that_windows_reserves_is_changed(name: str, expected: str) -> None:
    assert paths(name) == [expected]


def test_a_long_name_is_cut_between_letters_and_keeps_its_ending() -> None:
    (short, other) = paths("\u00fc" * 300 + ".jpg", "\u00fc" * 301 + ".jpg")
    assert len(short.encode()) <= 200
    assert re.fullmatch("\u00fc+\\.jpg", short)
    assert re.fullmatch("\u00fc+ \\(2\\)\\.jpg", other)


@given(PATHS)
def test_no_file_is_another_and_no_folder_is_a_file(names: list[str]) -> None:
    found = [unicodedata.normalize("NFC", path).casefold() for path in paths(*names)]
    assert len(set(found)) == len(found)
    folders = {path[: end.start()] for path in found for end in re.finditer("/", path)}
    assert not folders & set(found)
