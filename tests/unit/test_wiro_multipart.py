"""Request bodies, parsed by a server."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from pipeline.errors import StorageError
from pipeline.wiro.multipart import Body, FileSource, form_body, json_body


def a_file(data: bytes, size: int | None = None, name: str = "face.jpg") -> FileSource:
    return FileSource(name, "image/jpeg", len(data) if size is None else size, lambda: io.BytesIO(data))


def sent(body: Body) -> bytes:
    with body.opened() as data:
        return data if isinstance(data, bytes) else b"".join(data)


def received(body: Body) -> Request:
    data = sent(body)
    assert len(data) == body.length
    return Request(EnvironBuilder(method="POST", data=data, content_type=body.content_type).get_environ())


def test_fields_and_a_file_arrive_unchanged() -> None:
    odd = {"prompt": 'a "smile"\r\n--über', "n": 3, "on": True, "off": False, "none": None, "list": [1, {"a": "é"}]}
    request = received(form_body(odd, "inputImageFirst", a_file(b"\xff\xd8image\r\n--")))
    assert request.form.to_dict() == {
        "prompt": 'a "smile"\r\n--über',
        "n": "3",
        "on": "true",
        "off": "false",
        "none": "",
        "list": '[1, {"a": "é"}]',
    }
    file = request.files["inputImageFirst"]
    assert (file.read(), file.filename, file.content_type) == (b"\xff\xd8image\r\n--", "face.jpg", "image/jpeg")


def test_an_empty_field_is_in_the_form() -> None:
    assert received(form_body({"inputImageFirst": ""})).form.to_dict() == {"inputImageFirst": ""}


@pytest.mark.parametrize("size", [10, 999_999, 3_000_000])
def test_large_files_are_streamed_and_small_ones_are_not(size: int) -> None:
    data = bytes(size)
    body = form_body({}, "file", a_file(data))
    with body.opened() as whole:
        assert isinstance(whole, bytes) is (size < 1_000_000)
    assert received(body).files["file"].read() == data


@pytest.mark.parametrize("announced", [5, 15, 2_000_000])
def test_a_file_whose_size_has_changed_is_not_sent_completely(announced: int) -> None:
    with pytest.raises(StorageError, match="changed"):
        sent(form_body({}, "file", a_file(b"ten bytes!", announced)))


def test_a_name_cannot_inject_a_header() -> None:
    request = received(form_body({'a"\r\nX: y': "1"}, "file", a_file(b"x", name='b"\r\nX: y')))
    assert list(request.form) == ['a"%0D%0AX: y']


def test_a_lone_surrogate_can_be_sent() -> None:
    assert received(form_body({"prompt": "a\ud800b"})).form["prompt"] == "a?b"
    assert json.loads(sent(json_body({"prompt": "a\ud800b"})))["prompt"] == "a\ud800b"


def test_json_keeps_types() -> None:
    fields: dict[str, Any] = {"n": 3, "x": [1.5, None], "on": True}
    assert json.loads(sent(json_body(fields))) == fields
