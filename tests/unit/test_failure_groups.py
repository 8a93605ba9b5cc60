"""Failures are grouped by what their errors have in common."""

from __future__ import annotations

import pytest

from pipeline.domain.failure_groups import MAX_CAUSE_CHARS, NO_REASON, FailureGroup, cause_of, failure_groups


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "The input URL https://a.example/1.jpg could not be fetched.",
            "The input URL http://b/2 could not be fetched.",
        ),
        ("s3://faces/1.jpg: not found", "s3://faces/sub/22.png: not found"),
        ("Image 'anna.jpg' has no face", "Image 'b+c 100%.jpeg' has no face"),
        ("face not found in woman-1.jpg", "face not found in woman-22.jpg"),
        ("The image is 64x64, too small", "The image is 120 x 80, too small"),
        ("Task 8f3a2b1c9d7e-11 stopped after 12.4 s", "Task 0b1c2d3e4f5a-92 stopped after 3.08 s"),
        ("too large: 1048577 bytes\n  at line 3", "too large: 99,048,577 bytes\n  at line 77"),
    ],
)
def test_errors_that_differ_in_names_and_numbers_have_one_cause(first: str, second: str) -> None:
    assert cause_of(first) == cause_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("HTTP 404", "HTTP 503"),
        ("The task failed (pexit 1).", "The task failed (pexit 137)."),
        ("face not found", "the input URL could not be fetched"),
        ("[duration] must be between 1 and 5", "[strength] must be between 1 and 5"),
    ],
)
def test_errors_of_another_kind_have_another_cause(first: str, second: str) -> None:
    assert cause_of(first) != cause_of(second)


@pytest.mark.parametrize("error", [None, "", " \n ", "\n"])
def test_an_error_without_text_has_a_cause_all_the_same(error: str | None) -> None:
    assert cause_of(error) == NO_REASON


@pytest.mark.parametrize("error", ["x" * 100_000, "'" * 50_000, "1" * 50_000, "a-1" * 30_000, "a." * 30_000])
def test_a_huge_error_has_a_short_cause(error: str) -> None:
    assert 0 < len(cause_of(error)) <= MAX_CAUSE_CHARS


def test_a_cause_is_its_own_cause() -> None:
    cause = cause_of("https://a/1.jpg: HTTP 404 for 'x' after 12.4 s")
    assert cause_of(cause) == cause


def test_groups_are_the_largest_first_and_what_was_not_recorded_last() -> None:
    groups = failure_groups({"face not found": 40, "not fetched": 161, "gone": 0}, 203)
    assert groups == [FailureGroup("not fetched", 161), FailureGroup("face not found", 40), FailureGroup(None, 2)]
    assert failure_groups({}, 0) == []
