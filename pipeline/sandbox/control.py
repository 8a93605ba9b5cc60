"""Control of a sandbox for tests and people: counts, tasks and options. It needs the API key, from loopback only."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from pipeline.sandbox import documents
from pipeline.sandbox.state import STATE
from pipeline.sandbox.tasks import Task

routes = web.RouteTableDef()


@routes.get("/_sandbox/stats")
async def stats(request: web.Request) -> web.Response:
    """Return the counts."""
    _check_access(request)
    state = request.app[STATE]
    account = state.engine.account
    return web.json_response(
        {
            "runs": state.engine.runs,
            "max_concurrent_runs": state.max_concurrent_runs,
            "active": account.active,
            "max_active_seen": account.max_active_seen,
            "balance": f"{account.balance:f}",
            "billed_usd": f"{account.billed_usd:f}",
            "billed_tasks": account.billed_tasks,
            "requests": dict(state.requests),
            "refused": dict(state.refused),
            "callbacks": state.engine.callbacks.counts.as_json(),
        }
    )


@routes.get("/_sandbox/tasks")
async def tasks(request: web.Request) -> web.Response:
    """Return every recorded task, oldest first."""
    _check_access(request)
    return web.json_response({"tasks": [_row(task) for task in request.app[STATE].engine.tasks()]})


@routes.get("/_sandbox/options")
async def options(request: web.Request) -> web.Response:
    """Return the current options."""
    _check_access(request)
    return web.json_response(request.app[STATE].engine.options.public())


@routes.patch("/_sandbox/options")
async def change_options(request: web.Request) -> web.Response:
    """Change some options; 422 names the invalid ones."""
    _check_access(request)
    engine = request.app[STATE].engine
    try:
        changes = await request.json()
        if not isinstance(changes, dict):
            raise ValueError("the body must be a JSON object of option names and values")
        engine.change(changes)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=422)
    return web.json_response(engine.options.public())


@routes.post("/_sandbox/reset")
async def reset(request: web.Request) -> web.Response:
    """Delete all tasks and counts and restore the first options."""
    _check_access(request)
    state = request.app[STATE]
    await state.engine.reset()
    state.requests.clear()
    state.refused.clear()
    state.max_concurrent_runs = state.concurrent_runs
    return web.json_response(state.engine.options.public())


def _check_access(request: web.Request) -> None:
    """Raise HTTPForbidden without the API key: other users of this machine and web pages reach the port, too."""
    if request.remote not in {"127.0.0.1", "::1"} or not request.app[STATE].authenticator.has_key(request.headers):
        raise web.HTTPForbidden


def _row(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "token": task.token,
        "taken_at": task.timeline.queued_at,
        "model": task.model,
        "status": task.status(time.time()),
        "pexit": task.ending.pexit if task.ending else None,
        "cost": f"{task.ending.cost:f}" if task.ending else "0",
        "prompt": task.prompt,
        "image_sha256": task.image.sha256,
        "callback_url": task.callback_url,
        "calls": task.callback_statuses,
        "urls": [output["url"] for output in documents.outputs(task) if "url" in output],
    }
