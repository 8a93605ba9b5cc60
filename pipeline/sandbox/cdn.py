"""What is public to anyone with the URL: outputs, uploaded files, the sample pictures."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from pipeline.sandbox.errors import BadPicture, Refusal
from pipeline.sandbox.state import STATE
from pipeline.sandbox.tasks import Product, Task

SAMPLES = Path(__file__).parents[2] / "config" / "samples"
_CHUNK_BYTES = 64 * 1024
_NOISE = random.Random("noise").randbytes(2**20)

routes = web.RouteTableDef()
routes.static("/samples", SAMPLES)


@routes.get("/cdn/{task}/{name}")
async def output(request: web.Request) -> web.StreamResponse:
    """One output, with as many of the CDN's faults as the options ask for."""
    engine = request.app[STATE].engine
    if "expired" in request.query:
        raise engine.dice.choice((web.HTTPForbidden, web.HTTPNotFound))()
    if engine.dice.chance(engine.options.cdn_error):
        raise engine.dice.choice((web.HTTPNotFound, web.HTTPServiceUnavailable))()
    try:
        task = engine.find(task_id=request.match_info["task"])
    except Refusal:
        raise web.HTTPNotFound from None
    product = _named(task, request.match_info["name"])
    whole = _noise(task, product.size) if product.noise else _slices(await _video(request, task))
    return await _send(request, product, whole)


@routes.get("/files/{id}/{name}")
async def uploaded(request: web.Request) -> web.Response:
    """One uploaded file."""
    state = request.app[STATE]
    file = state.files.get(request.match_info["id"])
    body = state.engine.studio.picture(file.sha256) if file else None
    if file is None or body is None or file.name != request.match_info["name"]:
        raise web.HTTPNotFound
    return web.Response(body=body, headers={"Content-Type": file.content_type})


def _named(task: Task, name: str) -> Product:
    products = task.ending.products if task.ending and not task.deleted else ()
    for product in products:
        if product.name == name and product.text is None:
            return product
    raise web.HTTPNotFound


async def _video(request: web.Request, task: Task) -> bytes:
    try:
        return await request.app[STATE].engine.studio.video(task.picture.sha256, task.prompt)
    except BadPicture:
        raise web.HTTPNotFound from None


def _slices(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _CHUNK_BYTES] for start in range(0, len(body), _CHUNK_BYTES))


def _noise(task: Task, size: int) -> Iterator[bytes]:
    """`size` bytes that are the same each time for one task and differ from every other task's."""
    head = hashlib.sha256(task.token.encode()).digest()[:size]
    yield head
    left = size - len(head)
    start = 0
    while left > 0:
        chunk = _NOISE[start : start + min(_CHUNK_BYTES, left)]
        yield chunk
        left -= len(chunk)
        start = (start + _CHUNK_BYTES) % len(_NOISE)


async def _send(request: web.Request, product: Product, chunks: Iterator[bytes]) -> web.StreamResponse:
    engine = request.app[STATE].engine
    cut_at = product.size // 2 if engine.dice.chance(engine.options.truncate) else None
    response = web.StreamResponse(headers={"Content-Type": product.content_type})
    response.content_length = product.size
    await response.prepare(request)
    sent = 0
    for chunk in chunks:
        if cut_at is not None and sent + len(chunk) > cut_at:
            await response.write(chunk[: cut_at - sent])
            _hang_up(request)
            return response
        await response.write(chunk)
        sent += len(chunk)
        if engine.options.slow_download:
            await asyncio.sleep(len(chunk) / engine.options.slow_download)
    await response.write_eof()
    return response


def _hang_up(request: web.Request) -> None:
    if request.transport:
        request.transport.close()
