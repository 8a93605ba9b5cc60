"""The image of a run: in the field and the way that its type needs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from pipeline.wiro.model_schema import ImageField
from pipeline.wiro.multipart import FileSource
from pipeline.wiro.run_body import RunImage, run_body

URL = "https://example.com/1.jpg"
FACE = FileSource("face.jpg", "image/jpeg", 4, lambda: io.BytesIO(b"face"))
PARAMS = {"prompt": "p", "seed": 7}
SENT = {"prompt": "p", "seed": "7"}


def received(kind: str, *, url: str | None = None, file: FileSource | None = None, **params: Any) -> Request:
    body = run_body({**PARAMS, **params}, RunImage(ImageField("image", kind), url, file))
    with body.opened() as data:
        assert isinstance(data, bytes)
        return Request(EnvironBuilder(method="POST", data=data, content_type=body.content_type).get_environ())


@pytest.mark.parametrize("kind", ["fileinput", "multifileinput"])
def test_a_file_is_in_its_field_and_the_url_field_is_empty(kind: str) -> None:
    request = received(kind, file=FACE)
    assert request.form.to_dict() == {**SENT, "imageUrl": ""}
    assert request.files["image"].read() == b"face"


@pytest.mark.parametrize("kind", ["fileinput", "multifileinput"])
def test_a_url_is_in_the_url_field_and_the_file_field_is_empty(kind: str) -> None:
    assert received(kind, url=URL).form.to_dict() == {**SENT, "image": "", "imageUrl": URL}


def test_a_field_for_files_and_urls_has_no_url_field() -> None:
    with_file = received("combinefileinput", file=FACE)
    assert (with_file.form.to_dict(), list(with_file.files)) == (SENT, ["image"])
    assert received("combinefileinput", url=URL).form.to_dict() == {**SENT, "image": URL}


def test_a_text_field_takes_the_url_in_a_json_body() -> None:
    request = received("text", url=URL)
    assert (request.mimetype, json.loads(request.get_data())) == ("application/json", {**PARAMS, "image": URL})


def test_a_comma_in_a_url_does_not_split_a_list_of_urls() -> None:
    assert received("multifileinput", url="https://x/a,b.jpg").form["imageUrl"] == "https://x/a%2Cb.jpg"
    assert received("fileinput", url="https://x/a,b.jpg").form["imageUrl"] == "https://x/a,b.jpg"


@pytest.mark.parametrize("kind", ["fileinput", "multifileinput", "combinefileinput"])
def test_a_parameter_does_not_replace_the_image(kind: str) -> None:
    request = received(kind, file=FACE, image="https://x/other.jpg", imageUrl="https://x/other.jpg")
    assert "https://x/other.jpg" not in request.form.to_dict().values()


def test_without_an_image_the_parameters_keep_their_types() -> None:
    body = run_body(PARAMS, None)
    assert (body.content_type, json.loads(body.head)) == ("application/json", PARAMS)
