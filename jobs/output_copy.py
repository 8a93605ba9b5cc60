"""Copies of a task's outputs to S3: streamed, hashed, and checked against the announced size.

The first bytes decide what an output is. The media type and the file ending of its copy come from
`domain.media_types`: a browser must never run an output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pipeline.domain.media_signatures import JSON
from pipeline.domain.media_types import TEXT, output_type
from pipeline.domain.model import Output
from pipeline.errors import CopyFailed, NoOutput, StorageError
from pipeline.net.download import Downloader
from pipeline.storage.s3 import Storage, join
from pipeline.wiro.client import Task, TaskOutput


def copy_outputs(storage: Storage, downloader: Downloader, folder: str, item_id: str, task: Task) -> list[Output]:
    """Copy every output of `task` to `{folder}items/{item}/{n}.{ext}` and return the copies.

    `folder`: the batch's folder on S3. A second copy writes the same objects. Raises CopyFailed, StorageError; NoOutput
    if the task has no output.
    """
    if not task.outputs:
        raise NoOutput
    prefix = join(folder, "items/", f"{item_id}/")
    copies: list[Output] = []
    for output in task.outputs:
        if output.url:
            copies.append(_copy_file(storage, downloader, join(prefix, f"{len(copies)}"), output))
            continue
        for suffix, media_type, text in _answer(output.content, "" if copies else task.text):
            copies.append(_store_text(storage, join(prefix, f"{len(copies)}.{suffix}"), text, media_type))
    return copies


def copy_stored(storage: Storage, folder: str, item_id: str, outputs: Sequence[Output]) -> list[Output] | None:
    """Copy outputs of another item within S3, as `copy_outputs` names them. Return the copies, None if one is missing.

    An object of another size is not the output any more. Raises StorageError.
    """
    copies: list[Output] = []
    for number, output in enumerate(outputs):
        uri = join(folder, "items/", f"{item_id}/", f"{number}{PurePosixPath(output.uri).suffix}")
        source = storage.confirmed_info(output.uri)
        if source is None or source.size != output.size:
            # An item that is run must not have files of another run.
            for copy in copies:
                storage.delete(copy.uri)
            return None
        if not storage.copy(output.uri, uri):
            raise StorageError(
                f"{output.uri} exists, but S3 did not copy it to {uri}. Try again later.", retryable=True
            )
        copies.append(replace(output, uri=uri))
    return copies


def _answer(content: Any, printed: str) -> Iterator[tuple[str, str, str]]:
    """Yield the files of an answer that is in the task itself: file ending, media type, text.

    `content`: text, or the object of a language model, whose readable text is what the model printed (API doc).
    """
    if isinstance(content, str):
        yield "txt", TEXT, content
        return
    if printed:
        yield "txt", TEXT, printed
    yield "json", JSON, json.dumps(content, ensure_ascii=False, indent=1, default=str)


def _copy_file(storage: Storage, downloader: Downloader, stem: str, output: TaskOutput) -> Output:
    with downloader.open(output.url, size=output.size) as download:
        names = (output.name, urlsplit(output.url).path)
        stored = output_type(download.head(), output.content_type, names=names, sent=download.sent_type)
        if isinstance(stored, str):
            # An error page with status 200, or a file that the CDN does not have yet: the next copy may succeed.
            raise CopyFailed(f"What {download.host} sends {stored}.", retryable=True)
        uri = stem + stored.suffix
        size = storage.put_stream(uri, download, stored.media_type)
        return Output(uri, stored.media_type, size, download.sha256)


def _store_text(storage: Storage, uri: str, text: str, media_type: str) -> Output:
    data = text.encode("utf-8", "replace")
    storage.put(uri, data, media_type)
    return Output(uri, media_type, len(data), hashlib.sha256(data).hexdigest())
