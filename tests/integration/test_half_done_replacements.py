"""An id whose submission was not accepted: what another submission over HTTP and a recovery do with it."""

from __future__ import annotations

from typing import Any

import pytest
from support.api_client import a_manifest, api_client, api_settings, body, send
from support.inbox import Inbox
from support.manifests import parse_manifest

from pipeline.errors import Unreachable
from pipeline.ledger.items import ItemStore
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage

TEXT = 'version: 1\nname: n\nlimits: {{attempts: {}}}\nitems: [{{prompt: "{}"}}]\n'


def fail(*_args: Any, **_options: Any) -> Any:
    raise Unreachable


def test_another_manifest_for_an_interrupted_submission_is_a_conflict(
    redis_url: str, s3_server: S3Env, storage: Storage, bucket: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api_client(api_settings(redis_url, s3_server, bucket))
    with monkeypatch.context() as patch:
        patch.setattr(ItemStore, "load", fail)
        assert send(client, a_manifest(1)).status_code == 503
    answer = send(client, a_manifest(2))
    assert (answer.status_code, answer.content_type) == (409, "application/problem+json")
    assert "dailies cancel b" in body(answer)["detail"]
    assert send(client, a_manifest(1)).status_code in (200, 201), "the same manifest completes it"
    assert ledger.batches.get("b").total == 1


def test_a_recovery_takes_the_configuration_on_s3_not_that_of_a_submission_that_was_not_accepted(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = inbox.service
    with monkeypatch.context() as patch:
        patch.setattr(ItemStore, "load", fail)
        with pytest.raises(Unreachable):
            service.submission.submit(parse_manifest(TEXT.format(1, "old")), "b", trigger="cli", folder=None)
    folder = f"{service.settings.output}b/"
    service.storage.put(f"{folder}manifest.yaml", TEXT.format(5, "new").encode(), "application/yaml")
    assert service.recovery.recover(folder) == "b"
    assert service.ledger.batches.config("b").attempts == 5
    assert [row.prompt for row in service.ledger.items.stream("b")] == ["new"]
    assert service.ledger.batches.get("b").is_accepted
