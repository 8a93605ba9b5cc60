"""Bearer tokens and their holders."""

from __future__ import annotations

import pytest

from pipeline.domain.api_tokens import Tokens
from pipeline.errors import InvalidSettings
from pipeline.settings import load

ONE, TWO = "one-token-of-anna", "two-token-of-the-ci"


def test_a_single_token_needs_no_name() -> None:
    tokens = Tokens("s3cret-token")
    assert tokens.holder("s3cret-token") == "api"
    assert tokens.holder("s3cret-toke") is None


def test_several_tokens_have_names() -> None:
    tokens = Tokens(f"anna:{ONE}, ci: {TWO}")
    assert tokens.holder(ONE) == "anna"
    assert tokens.holder(TWO) == "ci"
    assert tokens.holder(f"anna:{ONE}") is None


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
    mark = Tokens(f"anna:{ONE}").mark(ONE)
    assert Tokens(f"anna:{ONE},ci:{TWO}").holder_of_mark(mark) == "anna"
    assert Tokens("anna:another-token").holder_of_mark(mark) is None
    assert ONE not in mark


def test_the_first_token_signs_in_as_its_holder() -> None:
    tokens = Tokens(f"anna:{ONE},ci:{TWO}")
    assert tokens.holder_of_mark(tokens.first_mark()) == "anna"


@pytest.mark.parametrize("name", ["PIPELINE_API_TOKEN", "PIPELINE_EVENTS_TOKEN"])
@pytest.mark.parametrize(
    "text",
    [
        "short",
        "fifteen-chars-x",
        "anna:",
        "a-long-name-of-anna:",
        "anna.of.the.film@example.com:",
        "a-long-name-of-anna:short",
        "anna.of.the.film@example.com:short",
        f"anna:{ONE},ci:",
        f"anna:{ONE},short",
        "x" * 1025,
        " ",
        ",",
    ],
)
def test_a_token_that_can_be_guessed_is_refused_at_the_start_without_its_value(name: str, text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load({name: text})
    assert str(caught.value).startswith(f"{name}: ")
    assert not any(part in str(caught.value) for part in (text.strip(", "), ONE) if part)


@pytest.mark.parametrize("text", ["sixteen-chars-xy", f"anna:{ONE},ci:{TWO}", f" anna: {ONE} , ", "x" * 1024])
def test_tokens_of_16_characters_and_more_are_accepted(text: str) -> None:
    settings = load({"PIPELINE_API_TOKEN": text, "PIPELINE_EVENTS_TOKEN": text})
    assert settings.api_token
    assert settings.api_token.get_secret_value() == text


def test_an_empty_token_counts_as_unset() -> None:
    assert load({"PIPELINE_API_TOKEN": ""}).api_token is None
