"""The vendor's HTTP API for runs, tasks and files."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from itertools import islice
from typing import Any

from aiohttp import web

from pipeline.sandbox import documents, prompt_faults
from pipeline.sandbox.errors import MODEL_NOT_ALLOWED, NO_PERMISSION, VALIDATION, Refusal
from pipeline.sandbox.files import MAX_FILE_BYTES
from pipeline.sandbox.middleware import abort, wait_for_disconnect
from pipeline.sandbox.run_request import read_run_request
from pipeline.sandbox.state import STATE, SandboxState, base_url, request_form
from pipeline.sandbox.tasks import Task

MAX_BODY_BYTES = MAX_FILE_BYTES + 2**20
_MAX_CALLBACK_WAIT_S = 15.0
_MAX_LISTED = 100

routes = web.RouteTableDef()


@routes.post("/v1/Run/{owner}/{model}")
async def run(request: web.Request) -> web.Response:
    """Start a task."""
    state = request.app[STATE]
    with state.counted_run():
        await asyncio.sleep(state.engine.options.run_s)
        return await _run(request, state)


async def _run(request: web.Request, state: SandboxState) -> web.Response:
    engine = state.engine
    form = await request_form(request)
    model = engine.model(f"{request.match_info['owner']}/{request.match_info['model']}")
    if engine.options.model_refused.lower() == model.slug.lower():
        raise Refusal(VALIDATION, MODEL_NOT_ALLOWED)
    run_request = read_run_request(model, form, base_url(request), engine.media_cache)
    if refusal := engine.refusal(run_request.prompt):
        state.refused["prompt"] += 1
        return refusal.response()
    task = engine.take(run_request)
    faults = engine.faults(task.prompt)
    if task.work and (task.fault_plan.early or "callback early" in faults):
        await _until_called_back(task)
    if "run hangs" in faults:
        await wait_for_disconnect(request)
    if "run cut" in faults:
        abort(request)
    if response := prompt_faults.run_response(faults):
        return response.response()
    return web.json_response({"errors": [], "taskid": task.id, "socketaccesstoken": task.token, "result": True})


@routes.post("/v1/Task/Detail")
async def task_detail(request: web.Request) -> web.Response:
    """Return a task. The URLs in the first response with outputs may have expired."""
    state = request.app[STATE]
    task = await _find_task(request, needs_name=True)
    task.detail_requests += 1
    faults = state.engine.faults(task.prompt)
    if "detail hangs" in faults and task.detail_requests == 1:
        await wait_for_disconnect(request)
    if response := prompt_faults.detail_response(faults, task.detail_requests):
        return response.response()
    if "cdn another host" in faults:
        task.base_url = prompt_faults.OTHER_HOST
    hidden = "detail unknown status" in faults and task.detail_requests <= prompt_faults.DETAIL_FAULTY_REQUESTS
    document = _detail(state, task)
    if task.ending:
        task.expired_url_given = True
    return web.json_response(documents.task_list([documents.with_unknown_status(document) if hidden else document], 1))


@routes.post("/v1/Task/List")
async def task_list(request: web.Request) -> web.Response:
    """Return a page of the tasks, newest first or, with `order` ASC, oldest first.

    `modelName`: only tasks of models whose "owner/name" contains this text.
    """
    state = request.app[STATE]
    options = state.engine.options
    if options.list_refused:
        raise Refusal(VALIDATION, NO_PERMISSION)
    form = await request_form(request)
    tasks = state.engine.tasks() if form.text("type") in ("", "model") else []
    if name := form.text("modelName").lower():
        tasks = [task for task in tasks if name in task.model.lower()]
    start, limit = form.number("start", 0), min(form.number("limit", 20), _MAX_LISTED)
    ordered = iter(tasks) if form.text("order").upper() == "ASC" else reversed(tasks)
    rows = [_detail(state, task) for task in islice(ordered, start, start + limit)]
    if options.list_without_callbackurl:
        for row in rows:
            del row["callbackurl"]
    return web.json_response(documents.task_list(rows, len(tasks)))


@routes.post("/v1/Task/Cancel")
async def task_cancel(request: web.Request) -> web.Response:
    """Remove a task from the queue."""
    task = await _find_task(request)
    request.app[STATE].engine.cancel(task)
    return _task_response(request.app[STATE], task)


@routes.post("/v1/Task/Kill")
async def task_kill(request: web.Request) -> web.Response:
    """Stop a running task."""
    task = await _find_task(request)
    request.app[STATE].engine.kill(task)
    return _task_response(request.app[STATE], task)


@routes.post("/v1/Task/InputOutputDelete")
async def task_delete_files(request: web.Request) -> web.Response:
    """Delete inputs and outputs of a task that has ended. A repetition is no error."""
    task = await _find_task(request)
    request.app[STATE].engine.delete_files(task)
    return web.json_response({"result": True, "errors": []})


@routes.post("/v1/File/FolderCreate")
async def folder_create(request: web.Request) -> web.Response:
    """Create a folder."""
    form = await request_form(request)
    folder = request.app[STATE].engine.files.create_folder(form.text("name"), form.text("parentid"))
    return web.json_response({"result": True, "errors": [], "list": [folder]})


@routes.post("/v1/File/Upload")
async def file_upload(request: web.Request) -> web.Response:
    """Store a file; its URL can be the input of a Run."""
    state = request.app[STATE]
    form = await request_form(request)
    file = form.file("file")
    if file is None:
        raise Refusal(VALIDATION, "Request files [file] required")
    stored = state.engine.store_file(file.name, file.content_type, file.body, form.text("folderid"))
    return web.json_response({"result": True, "errors": [], "list": [stored.as_json(base_url(request))]})


async def _until_called_back(task: Task) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_MAX_CALLBACK_WAIT_S):
            await task.ended.wait()
            if task.call:
                await asyncio.shield(task.call)


async def _find_task(request: web.Request, *, needs_name: bool = False) -> Task:
    """Return the task that a request names. needs_name: a request that names none is invalid."""
    form = await request_form(request)
    token, task_id = form.text("tasktoken") or form.text("socketaccesstoken"), form.text("taskid")
    if needs_name and not token and not task_id:
        raise Refusal(VALIDATION, "taskid or socketaccesstoken is required")
    task = request.app[STATE].engine.find(token, task_id)
    task.base_url = base_url(request)
    return task


def _task_response(state: SandboxState, task: Task) -> web.Response:
    return web.json_response(documents.task_list([_detail(state, task)], 1))


def _detail(state: SandboxState, task: Task) -> dict[str, Any]:
    return documents.detail(task, time.time(), quoted_categories=state.engine.options.quoted_categories)
