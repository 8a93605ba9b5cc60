import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.callback_tokens import CallbackSigner, RunId

RUN = RunId("la-street", "woman-1", 2)


def token(secret: str, run: RunId = RUN) -> str:
    return CallbackSigner(secret).url("https://me.example", run).rpartition("/")[2]


def test_a_token_names_its_run() -> None:
    assert CallbackSigner("key").verify(token("key")) == RUN


def test_the_url_is_the_contracts() -> None:
    assert CallbackSigner("key").url("https://me.example", RUN).startswith("https://me.example/callbacks/wiro/")


def test_a_token_of_another_key_is_none() -> None:
    assert CallbackSigner("key").verify(token("other")) is None


def test_while_a_key_is_rotated_old_tokens_ring_and_the_first_key_signs() -> None:
    assert CallbackSigner("new,old").verify(token("old")) == RUN
    assert CallbackSigner("new").verify(token("new,old")) == RUN
    assert CallbackSigner("old").verify(token("new,old")) is None


@given(st.text(max_size=300))
def test_no_other_text_is_a_token(text: str) -> None:
    assert CallbackSigner("key").verify(text) is None


@given(st.integers(0, 200), st.characters(codec="ascii", categories=["L", "N"]))
def test_a_changed_token_is_none(place: int, letter: str) -> None:
    good = token("key")
    place %= len(good)
    changed = good[:place] + letter + good[place + 1 :]
    # The last letter of base64 carries bits that nothing looks at.
    if changed != good and place != len(good) - 1:
        assert CallbackSigner("key").verify(changed) is None


def test_an_overlong_token_is_not_even_read() -> None:
    assert CallbackSigner("key").verify("a" * 100_000) is None


def test_without_a_key_there_is_no_signer() -> None:
    with pytest.raises(ValueError, match="secret"):
        CallbackSigner(" , ")
