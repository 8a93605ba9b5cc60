"""Outputs of a task copied to S3: streamed, hashed, checked against what was announced."""

from __future__ import annotations

import hashlib
import mimetypes
import re

from jobs.context import Context
from pipeline.domain.model import Output
from pipeline.errors import CopyFailed
from pipeline.storage.s3 import join
from pipeline.wiro.client import Task, TaskOutput

_SUFFIX = re.compile(r"\.([A-Za-z0-9]{1,8})$")


def copy_outputs(ctx: Context, folder: str, item_id: str, task: Task) -> list[Output]:
    """Copy every output to `{folder}items/{item}/{n}.{ext}`. `folder` is the batch's, on S3.

    Raises CopyFailed, StorageError; copying again writes the same objects.
    """
    if not task.outputs:
        raise CopyFailed("The task succeeded without any output.", retryable=True)
    return [
        _copy(ctx, join(folder, "items/", f"{item_id}/", f"{n}.{_suffix(output)}"), output)
        for n, output in enumerate(task.outputs)
    ]


def _copy(ctx: Context, uri: str, output: TaskOutput) -> Output:
    if not output.url:
        return _store_text(ctx, uri, output.content or "")
    with ctx.downloader.open(output.url, content_type=output.content_type, size=output.size) as download:
        size = ctx.storage.put_stream(uri, download, download.content_type)
        return Output(uri, download.content_type, size, download.sha256)


def _store_text(ctx: Context, uri: str, text: str) -> Output:
    """Models that answer with text give it in the task itself."""
    data = text.encode("utf-8", "replace")
    content_type = "text/plain; charset=utf-8"
    ctx.storage.put(uri, data, content_type)
    return Output(uri, content_type, len(data), hashlib.sha256(data).hexdigest())


def _suffix(output: TaskOutput) -> str:
    if not output.url:
        return "txt"
    if found := _SUFFIX.search(output.name):
        return found[1].lower()
    return (mimetypes.guess_extension(output.content_type) or ".bin")[1:]
