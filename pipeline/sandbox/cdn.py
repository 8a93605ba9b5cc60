"""The CDN: outputs, uploaded files and sample images, public to every client with the URL."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from pipeline.sandbox.documents import access_key
from pipeline.sandbox.engine import Engine
from pipeline.sandbox.errors import BadImage, Refusal
from pipeline.sandbox.middleware import wait_for_disconnect
from pipeline.sandbox.prompt_faults import TRICKLE_BYTES_PER_S, download_response
from pipeline.sandbox.state import STATE
from pipeline.sandbox.tasks import Product, Task

SAMPLES = Path(__file__).parents[2] / "config" / "samples"
_CHUNK_BYTES = 64 * 1024
_PIECES_PER_S = 10
_MP4_HEAD = b"\0\0\0\x10ftypisom\0\0\0\0"
"""What an MP4 begins with: the service looks at the first bytes of an output."""
_NOISE = random.Random("noise").randbytes(2**20)

routes = web.RouteTableDef()
routes.static("/samples", SAMPLES)


@dataclass(frozen=True)
class _Transfer:
    """How a download is sent. `bytes_per_s` 0: without a limit."""

    hangs: bool
    is_cut: bool
    is_longer: bool
    bytes_per_s: int


@routes.get("/cdn/{task}/{access_key}/{name}")
async def output(request: web.Request) -> web.StreamResponse:
    """Send one output, with the CDN's faults."""
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
    if request.match_info["access_key"] != access_key(task, product.name):
        raise web.HTTPNotFound
    task.downloads += 1
    if fault := download_response(engine.faults(task.prompt), task.downloads):
        return fault.response()
    content = _noise(task, product.size) if product.noise else _slices(await _video(request, task), _CHUNK_BYTES)
    return await _send(request, product, content, _transfer(engine, task))


@routes.get("/files/{id}/{access_key}/{name}")
async def uploaded(request: web.Request) -> web.Response:
    """Send one uploaded file."""
    state = request.app[STATE]
    file = state.engine.files.get(request.match_info["id"])
    body = state.engine.media_cache.image(file.sha256) if file else None
    match = request.match_info
    if file is None or body is None or (file.access_key, file.name) != (match["access_key"], match["name"]):
        raise web.HTTPNotFound
    return web.Response(body=body, headers={"Content-Type": file.content_type})


def _named(task: Task, name: str) -> Product:
    products = task.ending.products if task.ending and not task.deleted else ()
    for product in products:
        if product.name == name and product.text is None:
            return product
    raise web.HTTPNotFound


def _transfer(engine: Engine, task: Task) -> _Transfer:
    options, rng = engine.options, engine.rng
    faults = engine.faults(task.prompt) if task.downloads == 1 else ()
    return _Transfer(
        hangs=rng.chance(options.cdn_hang) or "cdn hangs" in faults,
        is_cut=rng.chance(options.truncate) or "cdn truncated" in faults,
        is_longer="cdn longer" in faults,
        bytes_per_s=TRICKLE_BYTES_PER_S if "cdn trickle" in faults else options.slow_download,
    )


async def _video(request: web.Request, task: Task) -> bytes:
    try:
        return await request.app[STATE].engine.media_cache.video(task.image.sha256, task.prompt)
    except BadImage:
        raise web.HTTPNotFound from None


def _slices(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def _noise(task: Task, size: int) -> Iterator[bytes]:
    """Yield `size` bytes that are the same each time for one task and differ from those of every other task."""
    head = (_MP4_HEAD + hashlib.sha256(task.token.encode()).digest())[:size]
    yield head
    left = size - len(head)
    start = 0
    while left > 0:
        chunk = _NOISE[start : start + min(_CHUNK_BYTES, left)]
        yield chunk
        left -= len(chunk)
        start = (start + _CHUNK_BYTES) % len(_NOISE)


async def _send(
    request: web.Request, product: Product, chunks: Iterator[bytes], transfer: _Transfer
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": product.content_type})
    if not transfer.is_longer:
        response.content_length = product.size
    await response.prepare(request)
    left = product.size // 2 if transfer.hangs or transfer.is_cut else product.size
    for chunk in chunks:
        await _write(response, chunk[:left], transfer.bytes_per_s)
        left -= len(chunk)
        if left < 0:
            break
    if transfer.is_longer:
        await response.write(b"more")
    if transfer.hangs:
        await wait_for_disconnect(request)
    if transfer.hangs or transfer.is_cut:
        _close(request)
    else:
        await response.write_eof()
    return response


async def _write(response: web.StreamResponse, chunk: bytes, bytes_per_s: int) -> None:
    """Write a chunk at a steady rate of `bytes_per_s` (0: without a limit)."""
    for piece in _slices(chunk, max(1, bytes_per_s // _PIECES_PER_S)) if bytes_per_s else (chunk,):
        await response.write(piece)
        if bytes_per_s:
            await asyncio.sleep(len(piece) / bytes_per_s)


def _close(request: web.Request) -> None:
    if request.transport:
        request.transport.close()
