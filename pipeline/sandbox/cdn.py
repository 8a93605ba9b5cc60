"""What is public to anyone with the URL: outputs, uploaded files, the sample pictures."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from pipeline.sandbox.errors import BadImage, Refusal
from pipeline.sandbox.middleware import until_gone
from pipeline.sandbox.state import STATE
from pipeline.sandbox.tasks import Product, Task

SAMPLES = Path(__file__).parents[2] / "config" / "samples"
_CHUNK_BYTES = 64 * 1024
_PIECES_PER_S = 10
_NOISE = random.Random("noise").randbytes(2**20)

routes = web.RouteTableDef()
routes.static("/samples", SAMPLES)


@routes.get("/cdn/{task}/{name}")
async def output(request: web.Request) -> web.StreamResponse:
    """One output, with as many of the CDN's faults as the options ask for."""
    engine = request.app[STATE].engine
    if "expired" in request.query:
        raise engine.rng.choice((web.HTTPForbidden, web.HTTPNotFound))()
    if engine.rng.chance(engine.options.cdn_error):
        raise engine.rng.choice((web.HTTPNotFound, web.HTTPServiceUnavailable))()
    try:
        task = engine.find(task_id=request.match_info["task"])
    except Refusal:
        raise web.HTTPNotFound from None
    product = _named(task, request.match_info["name"])
    whole = _noise(task, product.size) if product.noise else _slices(await _video(request, task), _CHUNK_BYTES)
    return await _send(request, product, whole)


@routes.get("/files/{id}/{name}")
async def uploaded(request: web.Request) -> web.Response:
    """One uploaded file."""
    state = request.app[STATE]
    file = state.engine.files.get(request.match_info["id"])
    body = state.engine.media_cache.picture(file.sha256) if file else None
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
        return await request.app[STATE].engine.media_cache.video(task.image.sha256, task.prompt)
    except BadImage:
        raise web.HTTPNotFound from None


def _slices(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


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
    options, rng = request.app[STATE].engine.options, request.app[STATE].engine.rng
    hangs, cut = rng.chance(options.cdn_hang), rng.chance(options.truncate)
    response = web.StreamResponse(headers={"Content-Type": product.content_type})
    response.content_length = product.size
    await response.prepare(request)
    left = product.size // 2 if hangs or cut else product.size
    for chunk in chunks:
        await _write(response, chunk[:left], options.slow_download)
        left -= len(chunk)
        if left < 0:
            break
    if hangs:
        await until_gone(request)
    if hangs or cut:
        _hang_up(request)
    else:
        await response.write_eof()
    return response


async def _write(response: web.StreamResponse, chunk: bytes, bytes_per_s: int) -> None:
    """Write a chunk, at `bytes_per_s` (0: at once) in a steady trickle."""
    for piece in _slices(chunk, max(1, bytes_per_s // _PIECES_PER_S)) if bytes_per_s else (chunk,):
        await response.write(piece)
        if bytes_per_s:
            await asyncio.sleep(len(piece) / bytes_per_s)


def _hang_up(request: web.Request) -> None:
    if request.transport:
        request.transport.close()
