"""Two processes submit the same id at the same moment: the batch is one, and the slower process gets no false error."""

from __future__ import annotations

from typing import Any

import pytest
from support.inbox import Inbox
from support.manifests import parse_manifest

from pipeline.batches.service import Service
from pipeline.domain.model import Manifest
from pipeline.errors import SubmissionReplaced, Unreachable

TEXT = 'version: 1\nname: n\nitems: [{{prompt: "{}"}}, {{prompt: "x"}}]\n'


@pytest.fixture
def service(inbox: Inbox) -> Service:
    return inbox.service


def a_manifest(prompt: str) -> Manifest:
    return parse_manifest(TEXT.format(prompt))


def submit(service: Service, manifest: Manifest | None = None) -> None:
    service.submission.submit(manifest or a_manifest("smiles"), "b", trigger="cli", folder=None)


def fail(*_args: Any, **_options: Any) -> Any:
    raise Unreachable


def other_process_completes_it(
    service: Service, monkeypatch: pytest.MonkeyPatch, at: str, manifest: Manifest | None = None
) -> None:
    """Let another process complete the submission, and its batch run, just after this one has done the step `at`."""
    owner: Any = service.ledger.batches if at in ("open", "record_attempt") else service.storage
    proceed = getattr(owner, at)

    def other_first(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, at, proceed)
        done = proceed(*args, **options)
        submit(service, manifest)
        service.journal.write(f"{service.settings.output}b/", [{"do": "run", "item": "i", "attempt": 1}])
        return done

    monkeypatch.setattr(owner, at, other_first)


@pytest.mark.parametrize(
    ("is_known", "at"), [(False, "confirmed_info"), (False, "open"), (True, "open"), (True, "record_attempt")]
)
def test_another_process_that_completes_it_meanwhile_is_no_error(
    service: Service, monkeypatch: pytest.MonkeyPatch, is_known: bool, at: str
) -> None:
    if is_known:
        with monkeypatch.context() as patch:
            patch.setattr(service.ledger.items, "load", fail)
            with pytest.raises(Unreachable):
                submit(service)
    other_process_completes_it(service, monkeypatch, at)
    submit(service)
    assert service.ledger.batches.is_accepted("b")
    assert len(list(service.ledger.items.stream("b"))) == 2
    assert service.ledger.redis.llen("rq:queue:dailies") == 1


def test_another_process_that_completes_it_with_other_content_is_named(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_process_completes_it(service, monkeypatch, "confirmed_info", a_manifest("other"))
    with pytest.raises(SubmissionReplaced):
        submit(service)
    assert [row.prompt for row in service.ledger.items.stream("b")] == ["other", "x"]
