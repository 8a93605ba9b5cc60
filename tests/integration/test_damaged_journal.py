"""`recover` of a folder whose journal has lines that cannot be read: the others count, and nothing is bought twice."""

from __future__ import annotations

import json

import pytest
from support.inbox import Inbox
from support.manifests import parse_manifest

from pipeline.cli.descriptions import print_batch
from pipeline.cli.terminal import console

TEXT = "version: 1\nname: n\nitems: [{id: a, prompt: x}, {id: b, prompt: y}, {id: c, prompt: z}]\n"


def test_a_damaged_line_holds_its_item_and_the_rest_goes_on(inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
    service = inbox.service
    service.submission.submit(parse_manifest(TEXT), "batch", trigger="cli", folder=None)
    folder = f"{service.settings.output}batch/"
    run = {"do": "run", "item": "a", "attempt": 1}
    lines = [
        json.dumps(run),
        json.dumps({**run, "do": "task", "task": "7", "token": "t"}),
        '{"do":"run","item":"b","at',
    ]
    service.storage.put(f"{folder}journal/1.jsonl", "\n".join(lines).encode(), "application/x-ndjson")
    service.ledger.redis.flushall()
    service.recovery.recover(folder)
    states = {row.id: row.status for row in service.ledger.items.stream("batch")}
    assert states == {"a": "running", "b": "unknown", "c": "pending"}
    assert service.ledger.items.get("batch", "a").attempts == 1
    print_batch(console(), service.ledger, service.ledger.batches.get("batch"))
    assert "1.jsonl:3" in "".join(capsys.readouterr().out.split())


def test_the_last_known_run_of_an_item_is_its_last_one_if_a_damaged_line_may_record_another(inbox: Inbox) -> None:
    service = inbox.service
    service.submission.submit(parse_manifest(TEXT), "batch", trigger="cli", folder=None)
    folder = f"{service.settings.output}batch/"
    run = {"do": "run", "item": "a", "attempt": 1}
    lines = [json.dumps(run), json.dumps({**run, "do": "task", "task": "7", "token": "t"}), "?"]
    service.storage.put(f"{folder}journal/1.jsonl", "\n".join(lines).encode(), "application/x-ndjson")
    service.ledger.redis.flushall()
    service.recovery.recover(folder)
    item = service.ledger.items.get("batch", "a")
    assert (item.status, item.attempts) == ("running", service.ledger.batches.config("batch").attempts)
