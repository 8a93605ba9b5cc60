"""The words of states in pages and commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.domain.states import BatchState, ItemState
from pipeline.domain.wording import batch_words, item_words

TEMPLATES = sorted((Path(__file__).parents[2] / "pipeline/web/templates").glob("*.html"))
SCRIPTS = sorted((Path(__file__).parents[2] / "pipeline/web/static").glob("*.js"))


def test_a_partial_batch_reads_how_many_items_failed() -> None:
    assert batch_words(BatchState.PARTIAL, {"succeeded": 6, "failed": 4}) == "finished, 4 failed"
    counts = {"succeeded": 6, "failed": 4, "cancelled": 2, "unknown": 1}
    expected = "finished, 4 failed, 2 cancelled, 1 result unknown, may be billed"
    assert batch_words(BatchState.PARTIAL, counts) == expected


def test_an_unknown_item_reads_that_it_may_be_billed() -> None:
    assert item_words(ItemState.UNKNOWN) == "result unknown, may be billed"


def test_other_states_read_as_they_are() -> None:
    assert [item_words(state) for state in ("failed", "started")] == ["failed", "started"]
    assert batch_words(BatchState.FAILED, {"failed": 3}) == "failed"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_pages_use_the_words_and_no_state_is_shown_as_it_is(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    assert re.findall(r">\s*\{\{ (?:batch|row|card\.row)\.status \}\}", text) == []
    assert not re.search(r"dead letters|concurrency limit", re.sub(r"\{[#%{].*?[#%}]\}", "", text), re.I)


@pytest.mark.parametrize("file", [*TEMPLATES, *SCRIPTS], ids=lambda file: file.name)
def test_the_name_of_a_button_is_the_text_that_it_shows(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"<(?:button|a|summary)\b[^>]*aria-label[^>]*>", text) == []
