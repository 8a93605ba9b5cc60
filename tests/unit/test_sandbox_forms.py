"""The sandbox reads multipart, form-encoded and JSON bodies."""

from __future__ import annotations

import pytest

from pipeline.sandbox.errors import Refusal
from pipeline.sandbox.forms import FormFile, read_form

MULTIPART = 'multipart/form-data; boundary="b"'
FORM_ENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"


def part(head: bytes, value: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + value + b"\r\n"


def test_a_multipart_form_is_read_byte_by_byte() -> None:
    image = part(b'name="image"; filename="a%22.jpg"\r\nContent-Type: image/jpeg', b"\xff\r\n\r\n--")
    form = read_form(part(b'name="prompt"', b"\xc3\xbcber") + image + b"--b--\r\n", MULTIPART)
    assert form.text("prompt") == "über"
    assert form.file("image") == FormFile('a".jpg', "image/jpeg", b"\xff\r\n\r\n--")


def test_repeated_fields_are_kept() -> None:
    urls = part(b'name="x"', b"http://a/1") + part(b'name="x"', b"") + part(b'name="x"', b"http://a/2")
    form = read_form(urls + b"--b--\r\n", MULTIPART)
    assert form.values("x") == ["http://a/1", "http://a/2"]
    assert form.parameters("")["x"] == ["http://a/1", "", "http://a/2"]
    assert read_form(b"x=1&x=2", FORM_ENCODED).values("x") == ["1", "2"]
    assert read_form(b'{"x": ["1", "2"]}', JSON).values("x") == ["1", "2"]


def test_a_form_encoded_body_is_read() -> None:
    form = read_form(b"prompt=a+woman%21&inputImageFirst=", FORM_ENCODED)
    assert form.text("prompt") == "a woman!"
    assert "inputImageFirst" in form


def test_json_values_stay_as_they_are() -> None:
    form = read_form(b'{"n": 5, "on": true, "list": ["a"], "none": null}', JSON)
    assert form.parameters("") == {"n": 5, "on": True, "list": ["a"], "none": None}
    assert (form.text("n"), form.text("on"), form.text("list"), form.text("none")) == ("5", "true", "a", "")


@pytest.mark.parametrize("content_type", [JSON, "", FORM_ENCODED, "multipart/form-data"])
def test_json_is_read_under_any_content_type(content_type: str) -> None:
    assert read_form(b' {"taskid": "1"}', content_type).text("taskid") == "1"


def test_a_file_is_shown_as_a_url() -> None:
    form = read_form(part(b'name="x"; filename="a.jpg"', b"1") + b"--b--", MULTIPART)
    assert form.parameters("http://h/v1/File") == {"x": "http://h/v1/File/a.jpg"}


def test_an_empty_body_has_no_fields() -> None:
    assert not read_form(b"", JSON).fields


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", MULTIPART),
        (b"--b\r\n", MULTIPART),
        (b"--b\r\nX: y\r\n\r\n1\r\n--b--", MULTIPART),
        (b'--b\r\nname="a"\r\n\r\n1\r\n--b\r\n', MULTIPART),
        (b'--b\r\nname="a"\r\n\r\n1\r\n--b--\r\n', "multipart/form-data"),
        (b"\xff\xfe=1", FORM_ENCODED),
        (b"[1]", JSON),
        (b"{", JSON),
        (b"hello", JSON),
    ],
)
def test_an_invalid_body_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Refusal, match="Request parameters are invalid"):
        read_form(body, content_type)
