"""Faults that prompts name. With the option `prompt_faults` each task of a batch can meet a fault of its own.

A prompt lists faults, separated by ", ". Words that name no fault are ignored.

| where | faults |
|---|---|
| the first Run is refused | the keys of RUN_REFUSALS |
| every Run is refused | run invalid |
| the Run is taken, its response is lost | run cut, run hangs, the keys of RUN_RESPONSES |
| the task | task fails once, task never ends, task not killable (it ends when a Kill is refused) |
| the first Task/Detail | detail hangs |
| the first two Task/Details | detail unknown status, the keys of DETAIL_RESPONSES |
| every Task/Detail | detail gone, cdn another host |
| the first download | cdn 404, cdn 503, cdn page (with status 200), cdn longer, cdn truncated, cdn hangs, cdn trickle |
| every download | cdn gone; cdn expired: the URL of the first Task/Detail returns 403 or 404 |
| the callback | no callback, callback early, callback five times, callback of older attempts |
| the body of the callback | the keys of CALLBACK_BODIES |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web

Faults = frozenset[str]
NO_FAULTS: Faults = frozenset()
OTHER_HOST = "http://169.254.169.254"
UNKNOWN_STATUS = "task_resting"
TRICKLE_BYTES_PER_S = 40
_HTML = b"<html><h1>502 Bad Gateway</h1></html>"
_GONE = b'{"result": false, "errors": [{"code": 1, "message": "There is no task yet."}]}'

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """An HTTP response in place of the regular one."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """Return it as aiohttp's response."""
        return web.Response(status=self.status, body=self.body, headers=self.headers)


RUN_REFUSALS: dict[str, Reply] = {
    "run 429": Reply(429),
    "run 429 with Retry-After": Reply(429, headers={"Retry-After": "1"}),
    "run 500": Reply(500, b'{"result": false, "errors": [{"code": 0, "message": "Internal error."}]}'),
    "run 503": Reply(503, _HTML),
    "run 96": Reply(body=b'{"result": false, "errors": [{"code": 96, "message": "You can run up to 40 tasks."}]}'),
    "run 96 as text": Reply(body=b'{"result": false, "errors": ["You can run up to 40 tasks at the same time."]}'),
}
RUN_INVALID = Reply(body=b'{"result": false, "errors": ["Request parameter [timeout] must be between 1 and 9"]}')
RUN_RESPONSES: dict[str, Reply] = {"run 502": Reply(502, _HTML), "run not JSON": Reply(body=_HTML)}
RUN_LOST = ("run cut", "run hangs", *RUN_RESPONSES)
DETAIL_RESPONSES: dict[str, Reply] = {
    "detail not JSON": Reply(body=_HTML),
    "detail error as text": Reply(body=b'{"result": false, "errors": ["Something went wrong, try again."]}'),
    "detail 429": Reply(429),
    "detail 500": Reply(500, _HTML),
    "detail gone at first": Reply(body=_GONE),
}
DETAIL_GONE = Reply(body=_GONE)
DETAIL_FAULTY_REQUESTS = 2
DOWNLOAD_RESPONSES: dict[str, Reply] = {
    "cdn 404": Reply(404),
    "cdn 503": Reply(503),
    "cdn page": Reply(body=_HTML, headers={"Content-Type": "video/mp4"}),
}
CALLBACK_BODIES: dict[str, bytes] = {
    "callback odd shape": b'[1, {"taskid": null}, "done"]',
    "callback 1 MB": b"\x00\xff" * 500_000,
    "callback truncated JSON": b'{"taskid": "22',
}


def named_in(prompt: str) -> Faults:
    """Return what `prompt` lists."""
    return frozenset(prompt.split(", "))


def run_refusal(faults: Faults, number: int) -> Reply | None:
    """Return the refusal of the `number`th Run (from 1) with the same prompt; None: it is taken."""
    if "run invalid" in faults:
        return RUN_INVALID
    return _chosen(RUN_REFUSALS, faults) if number == 1 else None


def run_response(faults: Faults) -> Reply | None:
    """Return the response of a Run that was taken; None: the regular one."""
    return _chosen(RUN_RESPONSES, faults)


def detail_response(faults: Faults, number: int) -> Reply | None:
    """Return the response of the `number`th Task/Detail (from 1) of a task; None: the regular one."""
    if "detail gone" in faults:
        return DETAIL_GONE
    return _chosen(DETAIL_RESPONSES, faults) if number <= DETAIL_FAULTY_REQUESTS else None


def download_response(faults: Faults, number: int) -> Reply | None:
    """Return the response of the `number`th download (from 1) of a task's output; None: the output."""
    if "cdn gone" in faults:
        return DOWNLOAD_RESPONSES["cdn 404"]
    return _chosen(DOWNLOAD_RESPONSES, faults) if number == 1 else None


def callback_body(faults: Faults) -> bytes | None:
    """Return the body of a callback; None: the regular one."""
    return _chosen(CALLBACK_BODIES, faults)


def _chosen(table: Mapping[str, T], faults: Faults) -> T | None:
    return next((table[name] for name in table if name in faults), None)
