"""The vendor's HTTP API under `/v1`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from pipeline.sandbox import documents, prompt_faults
from pipeline.sandbox.errors import NOT_FOUND, VALIDATION, Refusal
from pipeline.sandbox.files import MAX_FILE_BYTES
from pipeline.sandbox.forms import FormFile, read_multipart
from pipeline.sandbox.middleware import abort, wait_for_disconnect
from pipeline.sandbox.run_request import IMAGE_FIELD, form_of_json, read_run_request
from pipeline.sandbox.state import STATE, SandboxState, base_url
from pipeline.sandbox.tasks import Task

MAX_BODY_BYTES = MAX_FILE_BYTES + 2**20
_MAX_CALLBACK_WAIT_S = 15.0

Form = dict[str, str | bytes | None]

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
    form = await _read_form(request)
    model = f"{request.match_info['owner']}/{request.match_info['model']}"
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
    task = await _find_task(request)
    task.detail_requests += 1
    faults = request.app[STATE].engine.faults(task.prompt)
    if "detail hangs" in faults and task.detail_requests == 1:
        await wait_for_disconnect(request)
    if response := prompt_faults.detail_response(faults, task.detail_requests):
        return response.response()
    if "cdn another host" in faults:
        task.base_url = prompt_faults.OTHER_HOST
    hidden = "detail unknown status" in faults and task.detail_requests <= prompt_faults.DETAIL_FAULTY_REQUESTS
    document = documents.task_response(task, time.time(), unknown_status=hidden)
    if task.ending:
        task.expired_url_given = True
    return web.json_response(document)


@routes.post("/v1/Task/Cancel")
async def task_cancel(request: web.Request) -> web.Response:
    """Remove a task from the queue."""
    task = await _find_task(request)
    request.app[STATE].engine.cancel(task)
    return web.json_response(documents.task_response(task, time.time()))


@routes.post("/v1/Task/Kill")
async def task_kill(request: web.Request) -> web.Response:
    """Stop a running task."""
    task = await _find_task(request)
    request.app[STATE].engine.kill(task)
    return web.json_response(documents.task_response(task, time.time()))


@routes.post("/v1/Task/InputOutputDelete")
async def task_delete_files(request: web.Request) -> web.Response:
    """Delete inputs and outputs of a task that has ended. A repetition is no error."""
    task = await _find_task(request)
    request.app[STATE].engine.delete_files(task)
    return web.json_response({"result": True, "errors": []})


@routes.post("/v1/File/FolderCreate")
async def folder_create(request: web.Request) -> web.Response:
    """Create a folder."""
    form = await _read_form(request)
    folder = request.app[STATE].engine.files.create_folder(_field(form, "name"), _field(form, "parentid"))
    return web.json_response({"result": True, "errors": [], "list": [folder]})


@routes.post("/v1/File/Upload")
async def file_upload(request: web.Request) -> web.Response:
    """Store a file; its URL can be the input of a Run."""
    state = request.app[STATE]
    fields = await _read_fields(request)
    file, folder = fields.get("file"), fields.get("folderid")
    if not isinstance(file, FormFile):
        raise Refusal(VALIDATION, "file required")
    parent = folder if isinstance(folder, str) else ""
    stored = state.engine.store_file(file.name, file.content_type, file.body, parent)
    return web.json_response({"result": True, "errors": [], "list": [stored.as_json(base_url(request))]})


@routes.post("/v1/Tool/Detail")
async def tool_detail(request: web.Request) -> web.Response:
    """Return a model: its price and its parameters."""
    form = await _read_form(request)
    owner, model = _field(form, "slugowner"), _field(form, "slugproject")
    if not owner or not model or model == "missing":
        raise Refusal(NOT_FOUND, "Tool not found.")
    price = float(request.app[STATE].engine.options.price)
    tool = {
        "id": "1",
        "slugowner": owner,
        "slugproject": model,
        "title": f"{owner}/{model}",
        "categories": '["image-to-video",video,]',
        "dynamicprice": json.dumps([{"inputs": {}, "price": price, "priceMethod": "cpr"}]),
        "computingtime": "10 seconds",
        "parameters": [{"title": None, "items": _parameters()}],
    }
    return web.json_response({"result": True, "errors": [], "total": "1", "tool": [tool]})


def _parameters() -> list[dict[str, Any]]:
    return [
        {"type": "fileinput", "id": IMAGE_FIELD, "label": "Subject image", "required": True},
        {"type": "textarea", "id": "prompt", "label": "Prompt", "required": True},
    ]


async def _until_called_back(task: Task) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_MAX_CALLBACK_WAIT_S):
            await task.ended.wait()
            if task.call:
                await asyncio.shield(task.call)


async def _find_task(request: web.Request) -> Task:
    form = await _read_form(request)
    task = request.app[STATE].engine.find(_field(form, "tasktoken"), _field(form, "taskid"))
    task.base_url = base_url(request)
    return task


def _field(form: Form, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


async def _read_form(request: web.Request) -> Form:
    fields = await _read_fields(request)
    return {name: value.body if isinstance(value, FormFile) else value for name, value in fields.items()}


async def _read_fields(request: web.Request) -> Mapping[str, str | FormFile | None]:
    # `request.content_type` parses the header as mail, which takes 0.1 ms.
    content_type = request.headers.get("Content-Type", "")
    body = await request.read()
    if content_type.startswith("multipart/form-data"):
        return read_multipart(body, content_type)
    try:
        return form_of_json(json.loads(body))
    except ValueError:
        raise Refusal(VALIDATION, "The body is neither a form nor JSON.") from None
