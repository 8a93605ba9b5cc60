"""Tokens of share links cannot be made, or changed, without the secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.domain.share_tokens import ShareSigner

SECRET = "a-secret-of-the-tests"


def test_a_token_names_its_batch_and_link() -> None:
    assert ShareSigner(SECRET).verify(ShareSigner(SECRET).token("la-street", "0a1b")) == ("la-street", "0a1b")


def test_a_token_of_a_rotated_secret_is_valid_until_the_secret_is_removed() -> None:
    token = ShareSigner("old").token("b", "0a1b")
    assert ShareSigner("new,old").verify(token) == ("b", "0a1b")
    assert ShareSigner("new").verify(token) is None


def test_a_token_for_something_else_is_refused() -> None:
    callback = CallbackSigner(SECRET).url("", RunId("b", "i0", 1)).rpartition("/")[2]
    assert ShareSigner(SECRET).verify(callback) is None


@given(st.text(max_size=600))
def test_no_other_text_is_a_token(text: str) -> None:
    assert ShareSigner(SECRET).verify(text) is None


def test_an_empty_secret_is_an_error() -> None:
    with pytest.raises(ValueError, match="PIPELINE_SECRET"):
        ShareSigner(" , ")
