import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.callback_tokens import CallbackSigner, RunId

RUN = RunId("la-street", "woman-1", 2)


def token(secret: str, run: RunId = RUN) -> str:
    return CallbackSigner(secret).url("https://me.example", run).rpartition("/")[2]


def test_a_token_contains_its_run() -> None:
    assert CallbackSigner("key").verify(token("key")) == RUN


def test_the_callback_url_has_the_documented_path() -> None:
    assert CallbackSigner("key").url("https://me.example", RUN).startswith("https://me.example/callbacks/wiro/")


def test_a_token_of_another_key_is_rejected() -> None:
    assert CallbackSigner("key").verify(token("other")) is None


def test_during_a_rotation_old_tokens_verify_and_the_first_key_signs() -> None:
    assert CallbackSigner("new,old").verify(token("old")) == RUN
    assert CallbackSigner("new").verify(token("new,old")) == RUN
    assert CallbackSigner("old").verify(token("new,old")) is None


@given(st.text(max_size=300))
def test_any_other_text_is_rejected(text: str) -> None:
    assert CallbackSigner("key").verify(text) is None


@given(st.integers(0, 200), st.characters(codec="ascii", categories=["L", "N"]))
def test_a_changed_token_is_rejected(index: int, letter: str) -> None:
    good = token("key")
    index %= len(good)
    changed = good[:index] + letter + good[index + 1 :]
    # The last letter of base64 has unused bits.
    if changed != good and index != len(good) - 1:
        assert CallbackSigner("key").verify(changed) is None


def test_a_token_that_is_too_long_is_rejected() -> None:
    assert CallbackSigner("key").verify("a" * 100_000) is None


def test_a_signer_needs_a_key() -> None:
    with pytest.raises(ValueError, match="secret"):
        CallbackSigner(" , ")
