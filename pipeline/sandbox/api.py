"""The vendor's HTTP API under `/v1`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from pipeline.sandbox import documents
from pipeline.sandbox.errors import NOT_FOUND, VALIDATION, Refusal
from pipeline.sandbox.files import MAX_FILE_BYTES
from pipeline.sandbox.forms import FormFile, read_multipart
from pipeline.sandbox.run_request import IMAGE_FIELD, form_of_json, read_run_request
from pipeline.sandbox.state import STATE, State, base_url
from pipeline.sandbox.tasks import Task

MAX_BODY_BYTES = MAX_FILE_BYTES + 2**20
_EARLY_CALLBACK_WAIT_S = 15.0

Form = dict[str, str | bytes | None]

routes = web.RouteTableDef()


@routes.post("/v1/Run/{owner}/{model}")
async def run(request: web.Request) -> web.Response:
    """Take a run."""
    state = request.app[STATE]
    with state.a_run_in_air():
        await asyncio.sleep(state.engine.options.run_s)
        return await _take(request, state)


async def _take(request: web.Request, state: State) -> web.Response:
    form = await _read_form(request)
    model = f"{request.match_info['owner']}/{request.match_info['model']}"
    task = state.engine.take(read_run_request(model, form, base_url(request), state.engine.media_cache))
    if task.fault_plan.early and task.work:
        await _until_called(task)
    return web.json_response({"errors": [], "taskid": task.id, "socketaccesstoken": task.token, "result": True})


@routes.post("/v1/Task/Detail")
async def task_detail(request: web.Request) -> web.Response:
    """Say where a task is. The first outputs given may carry a URL that has expired already."""
    task = await _asked_for(request)
    document = documents.found(task, time.time())
    if task.ending:
        task.expired_url_given = True
    return web.json_response(document)


@routes.post("/v1/Task/Cancel")
async def task_cancel(request: web.Request) -> web.Response:
    """Take a task out of the queue."""
    task = await _asked_for(request)
    request.app[STATE].engine.cancel(task)
    return web.json_response(documents.found(task, time.time()))


@routes.post("/v1/Task/Kill")
async def task_kill(request: web.Request) -> web.Response:
    """Stop a running task."""
    task = await _asked_for(request)
    request.app[STATE].engine.kill(task)
    return web.json_response(documents.found(task, time.time()))


@routes.post("/v1/Task/InputOutputDelete")
async def task_delete_files(request: web.Request) -> web.Response:
    """Delete inputs and outputs of a task that has ended; again is no error."""
    task = await _asked_for(request)
    request.app[STATE].engine.delete_files(task)
    return web.json_response({"result": True, "errors": []})


@routes.post("/v1/File/FolderCreate")
async def folder_create(request: web.Request) -> web.Response:
    """Make a folder."""
    form = await _read_form(request)
    folder = request.app[STATE].engine.files.create_folder(_field(form, "name"), _field(form, "parentid"))
    return web.json_response({"result": True, "errors": [], "list": [folder]})


@routes.post("/v1/File/Upload")
async def file_upload(request: web.Request) -> web.Response:
    """Store a file; its URL can be a run's input."""
    state = request.app[STATE]
    fields = await _read_fields(request)
    file, folder = fields.get("file"), fields.get("folderid")
    if not isinstance(file, FormFile):
        raise Refusal(VALIDATION, "file required")
    parent = folder if isinstance(folder, str) else ""
    stored = state.engine.keep_file(file.name, file.content_type, file.body, parent)
    return web.json_response({"result": True, "errors": [], "list": [stored.as_json(base_url(request))]})


@routes.post("/v1/Tool/Detail")
async def tool_detail(request: web.Request) -> web.Response:
    """Describe a model: its price and its parameters."""
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


async def _until_called(task: Task) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_EARLY_CALLBACK_WAIT_S):
            await task.ended.wait()
            if task.call:
                await asyncio.shield(task.call)


async def _asked_for(request: web.Request) -> Task:
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
    # Not `request.content_type`: it parses the header as if it were mail, at a tenth of a millisecond.
    content_type = request.headers.get("Content-Type", "")
    body = await request.read()
    if content_type.startswith("multipart/form-data"):
        return read_multipart(body, content_type)
    try:
        return form_of_json(json.loads(body))
    except ValueError:
        raise Refusal(VALIDATION, "The body is neither a form nor JSON.") from None
