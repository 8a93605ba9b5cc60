"""Callbacks of the vendor with bodies of any kind: each is recorded, and none is a server error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr
from support.access import TOKEN
from support.ledger_fixtures import a_batch, dues, running

from pipeline.domain.callback_tokens import CallbackSigner
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings
from pipeline.web import create_app

SECRET = "a-secret-of-the-tests"
TASK = {
    "id": "1", "taskid": "1", "socketaccesstoken": "t", "tasktoken": "t", "status": "task_postprocess_end",
    "pexit": "0", "tasklist": [], "data": {}, "task": {}, "type": "x",
}  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, "", " ", "x" * 5000, "a b", "caf\xe9", "\ud800", "\0", [], [None], {},
    {"a": [1]}, [[]],
]  # fmt: skip


def bodies() -> Iterator[bytes]:
    """Yield bodies in which each field is missing, or has each odd value; and others that are no document."""
    for name in TASK:
        yield json.dumps({field: value for field, value in TASK.items() if field != name}).encode()
        for value in VALUES:
            yield json.dumps({**TASK, name: value}).encode()
    for value in VALUES:
        yield json.dumps(value).encode()
    text = json.dumps({**TASK, "name": "caf\xe9"}, ensure_ascii=False)
    yield from (text.encode("latin-1"), text.encode("utf-16"), text.encode("utf-8-sig"), text.encode()[:30])
    yield from (b"\xff" * 100, b"[" * 100_000, b'{"taskid":' + b"9" * 5000 + b"}", b"<html>", b"a=1&b=2", bytes(9))


def test_no_body_of_a_callback_is_a_server_error(redis_url: str, ledger: Ledger) -> None:
    settings = Settings(redis_url=redis_url, secret=SecretStr(SECRET), api_token=SecretStr(TOKEN))
    client = create_app(settings).test_client()
    a_batch(ledger, items=1)
    (run,) = (claim.run for claim in running(ledger, 1, poll_after_s=600))
    url = CallbackSigner(SECRET).url("", run)
    for body in bodies():
        assert client.post(url, data=body).status_code == 200, body[:200]
    for kind in ("application/json", "multipart/form-data", "application/x-www-form-urlencoded", "text/\xff", ""):
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        assert client.post(url, data=b"\xff{", headers=headers).status_code == 200, kind
    assert [due.run for due in dues(ledger)] == [run]
