"""The job that writes the status files of a batch is tried again after an unforeseen exception."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.inbox import Inbox
from support.manifests import parse_manifest

from jobs import write_status_files
from pipeline.batches.job_queue import Job
from pipeline.triggers.store import TriggerStore


def test_an_unforeseen_exception_delays_the_job_and_it_ends_after_some_tries(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = inbox.service
    manifest = parse_manifest("version: 1\nname: n\nitems: [{prompt: x}]\n")
    service.submission.submit(manifest, "b", trigger="trigger:inbox", folder=None)
    service.ledger.redis.hset("dailies:batch:b", mapping={"status": "failed", "finished": 1})
    delayed: list[tuple[Any, ...]] = []
    queue = SimpleNamespace(clear_pending=lambda *_: None, enqueue_in=lambda *args: delayed.append(args))
    context = SimpleNamespace(service=SimpleNamespace(**vars(service) | {"job_queue": queue}))
    monkeypatch.setattr(write_status_files, "context", lambda: context)

    def fail(*_: object) -> None:
        raise KeyError("objects")

    monkeypatch.setattr(TriggerStore, "objects", fail)
    for retries in ("0", "8"):
        with pytest.raises(KeyError):
            write_status_files.write_status_files("b", retries)
    assert delayed == [(Job.WRITE_STATUS_FILES, 5.0, "b", "1")]
