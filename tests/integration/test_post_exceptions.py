"""An unforeseen exception of a Run: before its first byte nothing was sent, after it the response is lost."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.sandbox.process_handle import Sandbox
from pipeline.wiro import client, responses, transport
from pipeline.wiro.client import Wiro
from pipeline.wiro.errors import NoResponse, ResponseLost

MODEL = "minimax/image-to-video-hailuo-01-subject"


class Odd(KeyError):
    """An exception that no code expects."""


def odd(*args: Any, **options: Any) -> Any:
    raise Odd("injected")


@pytest.fixture
def wiro(sandbox: Sandbox) -> Wiro:
    return Wiro(sandbox.url, sandbox.key, sandbox.secret)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(client, "run_body"), (Wiro, "_signature"), (transport._Connection, "connect"), (transport._Pool, "urlopen")],
)
def test_before_the_first_byte_nothing_was_sent(
    wiro: Wiro, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    monkeypatch.setattr(owner, name, odd)
    with pytest.raises(Odd):
        wiro.run(MODEL, {"prompt": "p"})
    assert sandbox.tasks() == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [(transport._Connection, "getresponse"), (responses, "parse_document")],
)
def test_after_the_first_byte_the_response_is_lost(
    wiro: Wiro, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    monkeypatch.setattr(owner, name, odd)
    with capture_logs(), pytest.raises(ResponseLost):
        wiro.run(MODEL, {"prompt": "p"})


def test_a_call_that_may_be_repeated_raises_no_response(wiro: Wiro, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport._Connection, "getresponse", odd)
    with pytest.raises(NoResponse):
        wiro.task(token="t")
