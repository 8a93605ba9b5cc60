"""The vendor's WebSocket: a client sends a task's token and receives every later status."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web

from pipeline.sandbox import documents
from pipeline.sandbox.engine import Engine
from pipeline.sandbox.errors import Refusal
from pipeline.sandbox.state import STATE
from pipeline.sandbox.tasks import CANCELLED, POSTPROCESS_END, STDERR, Task

_MAX_TASKS_PER_CONNECTION = 1000
_PROGRESS_STEPS = 30

routes = web.RouteTableDef()


@routes.get("/v1")
@routes.get("/v1/")
@routes.get("/v1/Socket")
async def socket(request: web.Request) -> web.WebSocketResponse:
    """Serve one connection; it may subscribe to many tasks."""
    connection = web.WebSocketResponse(heartbeat=30)
    await connection.prepare(request)
    subscriptions: set[asyncio.Task[None]] = set()
    try:
        async for message in connection:
            if message.type is WSMsgType.TEXT and len(subscriptions) < _MAX_TASKS_PER_CONNECTION:
                subscription = asyncio.create_task(_send_statuses(connection, request.app[STATE].engine, message.data))
                subscriptions.add(subscription)
                subscription.add_done_callback(subscriptions.discard)
    finally:
        for subscription in subscriptions:
            subscription.cancel()
    return connection


async def _send_statuses(connection: web.WebSocketResponse, engine: Engine, text: str) -> None:
    try:
        task = engine.find(token=_token(text))
    except Refusal as refusal:
        await connection.send_json({"type": "error", "message": refusal.message, "result": False})
        return
    try:
        async for status in _statuses(task):
            await connection.send_json(_message(task, status))
    except ConnectionError:
        return


def _token(text: str) -> str | None:
    try:
        request = json.loads(text)
    except ValueError:
        return None
    if not isinstance(request, dict) or request.get("type") != "task_info":
        return None
    return str(request.get("tasktoken") or "")


async def _statuses(task: Task) -> AsyncIterator[str]:
    """Yield the current status and every later one, up to the end."""
    sent = max(0, len(task.timeline.reached(time.time())) - 1)
    while task.ending is None:
        now = time.time()
        for status in task.timeline.reached(now)[sent:]:
            yield status
            sent += 1
        change = task.timeline.next_change(now)
        await _ended_within(task, None if change is None else change - now)
    if task.ending.status == POSTPROCESS_END:
        for status in task.timeline.reached(task.ending.at)[sent:]:
            yield status
    yield task.ending.status


async def _ended_within(task: Task, seconds: float | None) -> None:
    # One millisecond more: the next status must have begun.
    try:
        await asyncio.wait_for(task.ended.wait(), None if seconds is None else max(0.0, seconds) + 0.001)
    except TimeoutError:
        return


def _message(task: Task, status: str) -> dict[str, Any]:
    message = {
        "type": status,
        "id": task.id,
        "tasktoken": task.token,
        "message": _content(task, status),
        "result": status != CANCELLED,
    }
    if status == POSTPROCESS_END and task.ending:
        message |= {"success": task.ending.pexit == "0", "terminal": True, "exitCode": task.ending.pexit}
    return message


def _content(task: Task, status: str) -> Any:
    if status == POSTPROCESS_END:
        return documents.outputs(task)
    if status == "task_output":
        remaining = max(0.0, task.timeline.ends_at - time.time())
        return {
            "type": "progressGenerate",
            "percentage": "50",
            "stepCurrent": str(_PROGRESS_STEPS // 2),
            "stepTotal": str(_PROGRESS_STEPS),
            "remainingTime": f"{remaining:.2f}",
        }
    return "warning: this line went to stderr" if status == STDERR else None
