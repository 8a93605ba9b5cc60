"""Commands name a batch by its id, the beginning of it, or `last`; a mistyped id gets a suggestion."""

from __future__ import annotations

from typing import cast

import pytest

from pipeline.cli.batch_ids import find_batch_id
from pipeline.errors import AmbiguousBatch, NoSuchBatch
from pipeline.ledger.queries import QueryStore


class Ids:
    """The ids of batches, newest first."""

    def __init__(self, *ids: str) -> None:
        self.ids = list(ids)

    def has_batch(self, batch_id: str) -> bool:
        return batch_id in self.ids

    def newest_ids(self, limit: int) -> list[str]:
        return self.ids[:limit]

    def ids_with_prefix(self, prefix: str, limit: int) -> list[str]:
        return [one for one in self.ids if one.startswith(prefix)][:limit]


def found(name: str, *ids: str) -> str:
    return find_batch_id(cast(QueryStore, Ids(*ids)), name)


def test_last_is_the_newest_batch_unless_a_batch_has_this_id() -> None:
    assert found("last", "new", "old") == "new"
    assert found("last", "new", "last") == "last"


def test_a_beginning_that_no_other_batch_has_names_it() -> None:
    assert found("la", "la-street", "nightly") == "la-street"


def test_an_id_that_another_one_begins_with_names_its_own_batch() -> None:
    assert found("la", "la-street", "la") == "la"


def test_an_ambiguous_beginning_lists_the_candidates() -> None:
    with pytest.raises(AmbiguousBatch, match=r"begin with 'la': la-1, la-2\. Write more") as caught:
        found("la", "la-2", "la-1", "nightly")
    assert caught.value.exit_code == 4


def test_of_many_candidates_ten_are_listed() -> None:
    with pytest.raises(AmbiguousBatch) as caught:
        found("b", *(f"b{number}" for number in range(50)))
    assert str(caught.value).count(", ") == 10
    assert ", …" in str(caught.value)


def test_a_mistyped_id_gets_a_suggestion() -> None:
    with pytest.raises(NoSuchBatch, match=r"no batch 'la-steret'\. Did you mean 'la-street'\?"):
        found("la-steret", "nightly", "la-street")
    with pytest.raises(NoSuchBatch, match=r"no batch 'xyz'\. `dailies list`"):
        found("xyz", "nightly", "la-street")


def test_without_a_batch_last_is_no_batch() -> None:
    with pytest.raises(NoSuchBatch):
        found("last")
