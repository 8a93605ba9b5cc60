"""Bearer tokens and their holders."""

from __future__ import annotations

import pytest

from pipeline.web.security.api_tokens import Tokens


def test_a_single_token_needs_no_name() -> None:
    tokens = Tokens("s3cret-token")
    assert tokens.holder("s3cret-token") == "api"
    assert tokens.holder("s3cret-toke") is None


def test_several_tokens_have_names() -> None:
    tokens = Tokens("anna:one-token, ci:two-token")
    assert tokens.holder("one-token") == "anna"
    assert tokens.holder("two-token") == "ci"
    assert tokens.holder("anna:one-token") is None


def test_a_single_token_may_have_a_colon_in_it() -> None:
    assert Tokens("abc:def").holder("abc:def") == "abc"


@pytest.mark.parametrize("text", ["", " ", ","])
def test_without_a_token_none_is_valid(text: str) -> None:
    tokens = Tokens(text)
    assert not tokens
    assert tokens.holder("") is None
    assert tokens.holder_of_mark("") is None


@pytest.mark.parametrize("token", ["", "x" * 10_000, "tök€n", "\ud800"])
def test_odd_texts_are_no_tokens(token: str) -> None:
    assert Tokens("s3cret-token").holder(token) is None


def test_a_session_ends_with_its_token() -> None:
    mark = Tokens("anna:one-token").mark("one-token")
    assert Tokens("anna:one-token,ci:two-token").holder_of_mark(mark) == "anna"
    assert Tokens("anna:another-token").holder_of_mark(mark) is None
    assert "one-token" not in mark
