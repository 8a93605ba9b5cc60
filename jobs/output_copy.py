"""Copies of a task's outputs to S3: streamed, hashed, and checked against the announced size and type."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re

from pipeline.domain.model import Output
from pipeline.errors import CopyFailed
from pipeline.net.download import Downloader
from pipeline.storage.s3 import Storage, join
from pipeline.wiro.client import Task, TaskOutput

_SUFFIX = re.compile(r"\.([A-Za-z0-9]{1,8})$")
_TEXT_TYPE = "text/plain; charset=utf-8"


def copy_outputs(storage: Storage, downloader: Downloader, folder: str, item_id: str, task: Task) -> list[Output]:
    """Copy every output of `task` to `{folder}items/{item}/{n}.{ext}` and return the copies.

    `folder`: the batch's folder on S3. A second copy writes the same objects. Raises CopyFailed, StorageError.
    """
    if not task.outputs:
        raise CopyFailed("The task succeeded but has no output.", retryable=True)
    return [
        _copy(storage, downloader, join(folder, "items/", f"{item_id}/", f"{n}.{_suffix(output)}"), output)
        for n, output in enumerate(task.outputs)
    ]


def _copy(storage: Storage, downloader: Downloader, uri: str, output: TaskOutput) -> Output:
    if not output.url:
        # Models that generate text return it in the task itself.
        text = output.content if isinstance(output.content, str) else json.dumps(output.content, ensure_ascii=False)
        return _store_text(storage, uri, text)
    with downloader.open(output.url, content_type=output.content_type, size=output.size) as download:
        size = storage.put_stream(uri, download, download.content_type)
        return Output(uri, download.content_type, size, download.sha256)


def _store_text(storage: Storage, uri: str, text: str) -> Output:
    data = text.encode("utf-8", "replace")
    storage.put(uri, data, _TEXT_TYPE)
    return Output(uri, _TEXT_TYPE, len(data), hashlib.sha256(data).hexdigest())


def _suffix(output: TaskOutput) -> str:
    if not output.url:
        return "txt"
    if suffix := _SUFFIX.search(output.name):
        return suffix[1].lower()
    return (mimetypes.guess_extension(output.content_type) or ".bin")[1:]
