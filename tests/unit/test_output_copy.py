"""Outputs of a task on S3: text and structured answers, and tasks without any output."""

from __future__ import annotations

import io
import json
from contextlib import nullcontext
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from support.images import HTML
from support.media import a_video

from jobs.output_copy import copy_outputs
from pipeline.domain.image_types import SIGNATURE_BYTES
from pipeline.domain.model import Output
from pipeline.errors import CopyFailed, NoOutput
from pipeline.wiro.tasks import Task, parse_task

ANSWER = {"prompt": "hi", "raw": "<think>…</think>Hello ü", "thinking": ["…"], "answer": ["Hello ü"], "usage": None}


class Objects:
    """A storage that keeps what is put."""

    def __init__(self) -> None:
        self.data: dict[str, tuple[bytes, str]] = {}

    def put(self, uri: str, data: bytes, content_type: str) -> None:
        self.data[uri.removeprefix("s3://bucket/b/items/i/")] = (data, content_type)

    def put_stream(self, uri: str, source: BinaryIO, content_type: str) -> int:
        data = source.read()
        self.put(uri, data, content_type)
        return len(data)


class Downloads:
    """A downloader of files that all have the same bytes. Servers send them as a page."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, url: str, *, size: int | None) -> Any:
        file = io.BytesIO(self._data)
        head = self._data[:SIGNATURE_BYTES]
        return nullcontext(
            SimpleNamespace(head=lambda: head, read=file.read, sent_type="text/html", sha256="ab", host="cdn1.wiro.ai")
        )


def a_task(outputs: Any, **more: Any) -> Task:
    fields = {"id": "1", "status": "task_postprocess_end", "pexit": "0", "totalcost": "0.09", **more}
    return parse_task({"tasklist": [{**fields, "outputs": outputs}]}, token="t", task_id="1")


def copied(task: Task, data: bytes = HTML) -> tuple[dict[str, tuple[bytes, str]], list[Output]]:
    storage, downloader = Objects(), Downloads(data)
    outputs = copy_outputs(storage, downloader, "s3://bucket/b/", "i", task)  # type: ignore[arg-type]  # fakes
    return storage.data, outputs


def test_an_answer_is_stored_as_the_text_that_was_printed_and_its_structure_as_json() -> None:
    task = a_task([{"contenttype": "raw", "content": ANSWER}], debugoutput="Hello ü")
    stored, outputs = copied(task)
    assert stored["0.txt"] == ("Hello ü".encode(), "text/plain; charset=utf-8")
    data, content_type = stored["1.json"]
    assert (json.loads(data), content_type) == (ANSWER, "application/json")
    assert [output.uri.rpartition("/")[2] for output in outputs] == ["0.txt", "1.json"]
    assert outputs[1].size == len(data)


def test_the_printed_text_is_stored_once_for_several_answers() -> None:
    task = a_task([{"content": {"answer": ["a"]}}, {"content": {"answer": ["b"]}}], debugoutput="a b")
    assert sorted(copied(task)[0]) == ["0.txt", "1.json", "2.json"]


def test_an_answer_without_printed_text_is_its_structure() -> None:
    assert sorted(copied(a_task([{"contenttype": "raw", "content": ANSWER}]))[0]) == ["0.json"]


def test_an_answer_that_is_text_is_stored_as_it_is() -> None:
    stored, _ = copied(a_task([{"contenttype": "raw", "content": "Hello"}], debugoutput="loading…\nHello"))
    assert stored == {"0.txt": (b"Hello", "text/plain; charset=utf-8")}


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        ("text/html", "page.html"),
        ("text/html", "0.mp4"),
        ("image/svg+xml", "drawing.svg"),
        ("application/xhtml+xml", "page.xhtml"),
        ("", "page.html"),
    ],
)
def test_no_output_is_stored_as_something_that_a_browser_runs(media_type: str, name: str) -> None:
    url = "https://cdn1.wiro.ai/page.html"
    objects, (output,) = copied(a_task([{"name": name, "contenttype": media_type, "url": url}]))
    assert objects == {"0.bin": (HTML, "application/octet-stream")}
    assert (output.uri, output.content_type) == ("s3://bucket/b/items/i/0.bin", "application/octet-stream")


@pytest.mark.parametrize(
    ("media_type", "name", "url"),
    [
        ("video/mp4", "0.mp4", "https://cdn1.wiro.ai/0"),
        ("", "0.mp4", "https://cdn1.wiro.ai/0"),
        ("application/octet-stream", "0", "https://cdn1.wiro.ai/f/0.mp4?sig=1#a"),
        ("", "", "https://cdn1.wiro.ai/0"),
    ],
)
def test_an_error_page_with_status_200_is_fetched_again(media_type: str, name: str, url: str) -> None:
    with pytest.raises(CopyFailed, match=r"What cdn1\.wiro\.ai sends is an HTML or XML document") as caught:
        copied(a_task([{"name": name, "contenttype": media_type, "url": url}]))
    assert caught.value.retryable


@pytest.mark.parametrize("media_type", ["", "application/mp4", "video/mp4", "application/octet-stream", "image/png"])
def test_a_video_is_stored_as_one_whatever_it_is_called(media_type: str) -> None:
    video = a_video()
    objects, (output,) = copied(a_task([{"name": "0", "contenttype": media_type, "url": "https://e.com/0"}]), video)
    assert objects == {"0.mp4": (video, "video/mp4")}
    assert output.content_type == "video/mp4"


@pytest.mark.parametrize("outputs", [None, [], [{"name": "0.mp4", "url": None}]])
def test_a_task_that_ended_well_without_any_output_has_no_second_copy(outputs: Any) -> None:
    task = a_task(outputs)
    assert (task.succeeded, task.cost_usd) == (True, Decimal("0.09"))
    with pytest.raises(NoOutput) as caught:
        copied(task)
    assert not caught.value.retryable
