"""Replies of the vendor that no document describes: no item is bought twice, fails or is held because of one."""

from __future__ import annotations

import gzip
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from support.images import a_jpeg
from support.job_loop import PRICE, JobLoop, Vendor
from support.manifests import parse_manifest
from support.vendor_server import Reply, VendorServer, a_vendor_server, row_of

from jobs import worker_slots
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.doctor.findings import Severity
from pipeline.doctor.vendor import check_account
from pipeline.domain.states import BatchState, ItemState
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import Wiro
from pipeline.wiro.transport import MAX_RESPONSE_BYTES

ENDPOINTS = (
    "Run", "Task/Detail", "Task/List", "Tool/Detail", "File/FolderCreate", "File/Upload",
)  # fmt: skip

GROUPS = 3
"""The replies in groups, with one service for each group: it takes longer to start than a batch."""


def a_json(document: Any, *, status: int = 200) -> Reply:
    return Reply(json.dumps(document).encode(), status)


UNREADABLE = {
    "no JSON": Reply(b"ok"),
    "a page": Reply(b"<!doctype html><h1>Welcome</h1>", headers=(("Content-Type", "text/html"),)),
    "nothing": Reply(),
    "204": Reply(status=204),
    "a list": a_json([]),
    "a text": a_json("accepted"),
    "null": a_json(None),
    "an empty object": a_json({}),
    "null fields": a_json(dict.fromkeys(("result", "errors", "taskid", "socketaccesstoken", "tasklist", "tool"))),
    "other types": a_json({"result": True, "taskid": ["1"], "socketaccesstoken": {"a": 1}, "tasklist": "1", "tool": 7}),
    "texts for lists": a_json({"result": True, "errors": "", "tasklist": "", "list": "x", "tool": "", "data": "x"}),
    "numbers for ids": a_json({"result": 1, "taskid": 1.5, "socketaccesstoken": True, "data": [3], "list": [1]}),
    "rows of nothing": a_json({"result": True, "tasklist": [None, 3, {}, [], {"id": None}], "tool": [None]}),
    "an error without words": a_json({"result": False, "errors": [None]}),
    "too long": Reply(b" " * (MAX_RESPONSE_BYTES + 1)),
    "broken gzip": Reply(b"\x1f\x8b\x08broken", headers=(("Content-Encoding", "gzip"),)),
    "no gzip": Reply(b"{}", headers=(("Content-Encoding", "gzip"),)),
    "cut gzip": Reply(gzip.compress(b'{"result": true}' * 99)[:40], headers=(("Content-Encoding", "gzip"),)),
    "cut": Reply(b'{"result": true, "tas', length=500),
    "cut at a brace": Reply(b'{"result": true, "taskid": "1', length=29),
    "NUL bytes": Reply(bytes(64)),
    "deep": Reply(b"[" * 100_000),
    "a long number": Reply(b'{"taskid": ' + b"9" * 5000 + b"}"),
    "303": Reply(status=303, headers=(("Location", "/elsewhere"),)),
    "502": Reply(b"<h1>Bad gateway</h1>", 502),
}  # fmt: skip
"""What → a reply that does not show whether a request was executed."""


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with a_vendor_server(Vendor()) as server:
        yield server


@pytest.fixture
def loop(
    redis_url: str,
    storage: Storage,
    bucket: str,
    tmp_path: Path,
    server: VendorServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[JobLoop]:
    monkeypatch.setattr(worker_slots, "DRAIN_WAIT_S", 5)
    with capture_logs():
        loop = JobLoop(redis_url, storage, bucket, tmp_path, monkeypatch)
        wiro = Wiro(server.url, "a-key", read_s=5, run_read_s=5)
        loop.vendor = server.vendor
        loop.service = replace(loop.service, models=ModelCatalog(wiro, loop.ledger.model_cache))
        loop.context = replace(loop.context, service=loop.service, wiro=wiro)
        storage.put(f"{bucket}1.jpg", a_jpeg(1), "image/jpeg")
        yield loop
        worker_slots.wait_for_all()


def a_batch(loop: JobLoop, bucket: str, batch_id: str) -> str:
    """Submit two items that share an image."""
    items = ", ".join(f"{{id: {name}, image: {bucket}1.jpg, prompt: {name}}}" for name in ("one", "two"))
    text = f"version: 1\nname: m\nlimits: {{budget_usd: 5}}\nitems: [{items}]\n"
    loop.service.submission.submit(parse_manifest(text), batch_id, trigger="cli", folder=None)
    return batch_id


def check(loop: JobLoop, batch_id: str, what: str) -> None:
    (row,) = loop.run(batch_id)
    assert (row.status, dict(row.counts)) == (BatchState.SUCCEEDED, {ItemState.SUCCEEDED: 2}), what
    assert sorted(loop.posts(batch_id)) == ["one", "two"], what
    assert loop.errors == [], what
    assert loop.ledger.account.get().active == 0, what


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_reply_that_cannot_be_read_costs_and_loses_nothing(
    loop: JobLoop, server: VendorServer, bucket: str, group: int
) -> None:
    """No callback comes: a lost run is found in the list of tasks, and anything else is asked again."""
    loop.vendor.lost = {"one", "two"}
    for number, what in list(enumerate(UNREADABLE))[group::GROUPS]:
        batch_id = a_batch(loop, bucket, f"b{number}")
        server.faults = {endpoint: deque([UNREADABLE[what]]) for endpoint in ENDPOINTS}
        check(loop, batch_id, what)
        assert not any(server.faults[endpoint] for endpoint in ("Run", "Task/Detail", "Task/List")), what
        assert loop.ledger.batches.get(batch_id).found == {"task list": 2}, what


@pytest.mark.parametrize(
    ("change", "cost_usd"),
    [
        ({"totalcost": "NaN"}, PRICE),
        ({"totalcost": float("nan")}, PRICE),
        ({"totalcost": "-5"}, PRICE),
        ({"totalcost": 0.05}, Decimal("0.05")),
        ({"totalcost": ["0.05"]}, PRICE),
        ({"totalcost": "1e99"}, PRICE),
        ({"elapsedseconds": "soon", "createtime": -1, "name": "\ud800"}, PRICE),
        ({"parameters": "{", "debugoutput": {"a": 1}, "debugerror": [None]}, PRICE),
        ({"pexit": 0, "id": 1}, PRICE),
        ({"pexit": None}, PRICE),
    ],
)
def test_a_field_of_another_type_does_not_hide_the_task(change: dict[str, Any], cost_usd: Decimal) -> None:
    """Without a cost that can be read, the price that was reserved counts (`test_find_lost_runs.py`)."""
    vendor = Vendor()
    vendor.run("", {}, callback_url="https://we/b/one/1")
    row = {**row_of(vendor.task(task_id="1")), **change}
    with a_vendor_server(vendor) as server:
        server.faults = {"Task/Detail": deque([a_json({"tasklist": [row, row]}), latin_1(row)])}
        wiro = Wiro(server.url, "a-key", read_s=5)
        task, again = wiro.task(token="token-1"), wiro.task(token="token-1")
    assert (task.id, task.succeeded, task.cost_usd or PRICE) == ("1", True, cost_usd)
    assert again.id == "1"
    assert [output.url for output in task.outputs] == ["https://cdn1.wiro.ai/1/0.mp4"]


def latin_1(row: dict[str, Any]) -> Reply:
    """Return a response in another encoding than its header names."""
    return Reply(
        json.dumps({"tasklist": [{**row, "name": "caf\xe9"}]}, ensure_ascii=False).encode("latin-1", "replace")
    )


def test_a_compressed_reply_is_read(server: VendorServer) -> None:
    body = gzip.compress(b'{"result": true, "taskid": "7", "socketaccesstoken": "t"}')
    server.faults = {"Run": deque([Reply(body, headers=(("Content-Encoding", "gzip"),))])}
    assert Wiro(server.url, "a-key").run("a/b", {"callbackUrl": "https://we/b/one/1"}).task_id == "7"


@pytest.mark.parametrize(
    "reply",
    [
        a_json({"result": False, "errors": [{"code": 0, "message": "You don't have any permission for this action."}]}),
        a_json({"result": True, "tasklist": [{"id": None}]}),
        Reply(b"<h1>Not here</h1>", 404),
    ],
)
def test_doctor_says_that_the_list_of_tasks_cannot_be_read(server: VendorServer, reply: Reply) -> None:
    settings = Settings(wiro_api_url=server.url, wiro_api_key=SecretStr("a-key"), wiro_api_secret=None)
    assert [finding.severity for finding in check_account(settings)] == [Severity.OK]
    server.faults = {"Task/List": deque([reply])}
    (_, finding) = check_account(settings)
    assert finding.severity is Severity.WRONG
    assert "list of tasks (Task/List) cannot be read" in finding.message
