"""Ids and names of batches from names of people and files."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifest.readable_names import batch_name, file_ids, natural_key, slug


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("müller-straße", "mueller-strasse"),
        ("Mu\u0308ller", "mueller"),
        ("Anna Müller", "anna-mueller"),
        ("b+c 100%", "b-c-100"),
        ("IMG_0001", "img_0001"),
        ("Łódź, Ærø", "lodz-aero"),
        ("Москва", "moskva"),
        ("ÖSTERREICH", "oesterreich"),
        ("...", ""),
    ],
)
def test_a_slug_keeps_the_letters_readable(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_a_batch_name_is_valid() -> None:
    assert batch_name("Summer Campaign_2026") == "summer-campaign-2026"
    assert batch_name("x" * 200) == "x" * 63


def test_files_are_sorted_as_people_count() -> None:
    names = ["10.jpg", "B2.jpg", "a/10.jpg", "2.jpg", "b1.jpg", "a/9.jpg"]
    assert sorted(names, key=natural_key) == ["2.jpg", "10.jpg", "a/9.jpg", "a/10.jpg", "b1.jpg", "B2.jpg"]


def test_an_id_has_as_much_of_the_path_as_it_needs() -> None:
    assert file_ids(["p/1.jpg", "p/2.jpg", "p/x/2.jpg", "p/x/3.jpg", "p/x/3.png", "p/!.jpg"]) == [
        "1", "p-2", "p-x-2", "p-x-3-jpg", "p-x-3-png", "image",
    ]  # fmt: skip
    assert file_ids(["é.jpg", "e.jpg"]) == ["e-jpg", "e-jpg-2"]


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=12), unique=True, max_size=8))
def test_ids_of_files_are_unique_and_valid(paths: list[str]) -> None:
    ids = file_ids(paths)
    assert len(set(ids)) == len(paths)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,120}", one) for one in ids)
    assert file_ids(paths) == ids
