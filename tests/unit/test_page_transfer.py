"""Pages are compressed and sent once, and their sizes do not reveal the CSRF token."""

from __future__ import annotations

import re
import zlib

import pytest
from flask import Flask, Response, render_template_string
from flask.testing import FlaskClient
from werkzeug.exceptions import Forbidden

from pipeline.web.page_transfer import compress_and_revalidate
from pipeline.web.security.authentication import check_csrf, csrf_token

PAGE = '<meta name="csrf" content="{{ csrf_token() }}"><p>{{ text }}</p>' + "<p>an item of the batch</p>" * 200


@pytest.fixture
def client() -> FlaskClient:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "a-key-of-the-tests"
    compress_and_revalidate(app)
    app.jinja_env.globals["csrf_token"] = csrf_token
    texts = iter(["one", "one", "two", *["three"] * 99])

    @app.get("/page")
    def page() -> str:
        return str(render_template_string(PAGE, text=next(texts)))

    @app.get("/events")
    def events() -> Response:
        return Response((b"event: progress\n\n" for _ in range(100)), content_type="text/event-stream")

    @app.get("/picture")
    def picture() -> Response:
        return Response(bytes(5000), content_type="image/webp")

    @app.post("/change")
    def change() -> str:
        try:
            check_csrf()
        except Forbidden:
            return "refused"
        return "accepted"

    return app.test_client()


def token_of(page: str) -> str:
    return str(re.findall(r'content="([^"]+)"', page)[0])


def test_a_page_is_compressed(client: FlaskClient) -> None:
    response = client.get("/page", headers={"Accept-Encoding": "deflate"})
    assert response.headers["Content-Encoding"] == "deflate"
    assert b"an item of the batch" in zlib.decompress(response.data)
    assert len(response.data) < 1000
    assert response.headers["Vary"] == "Accept-Encoding, Cookie"


@pytest.mark.parametrize("path", ["/events", "/picture"])
def test_events_and_pictures_are_sent_as_they_are(client: FlaskClient, path: str) -> None:
    response = client.get(path, headers={"Accept-Encoding": "zstd, br, gzip, deflate"})
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("encoding", ["zstd, br", ""])
def test_a_page_that_has_not_changed_is_not_sent_again(client: FlaskClient, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    tag = client.get("/page", headers=headers).headers["ETag"]
    same = client.get("/page", headers={**headers, "If-None-Match": tag})
    assert (same.status_code, same.data) == (304, b"")
    changed = client.get("/page", headers={**headers, "If-None-Match": tag})
    assert changed.status_code == 200


def test_a_page_of_another_session_is_sent_again(client: FlaskClient) -> None:
    """Its CSRF token would be refused."""
    tag = client.get("/page").headers["ETag"]
    client.delete_cookie("session")
    assert client.get("/page", headers={"If-None-Match": tag}).status_code == 200


def test_the_csrf_token_differs_in_each_response_and_all_are_accepted(client: FlaskClient) -> None:
    tokens = {token_of(client.get("/page").text) for _ in range(5)}
    assert len(tokens) == 5
    for token in tokens:
        assert client.post("/change", headers={"X-CSRF-Token": token}).text == "accepted"
        assert client.post("/change", data={"csrf": token}).text == "accepted"


def test_no_part_of_the_token_is_the_same_in_two_responses(client: FlaskClient) -> None:
    one, other = (token_of(client.get("/page").text) for _ in range(2))
    pieces = {one[start : start + 6] for start in range(len(one) - 5)}
    assert not any(piece in other for piece in pieces)


def test_the_token_of_a_page_of_the_version_before_is_accepted(client: FlaskClient) -> None:
    client.get("/page")
    with client.session_transaction() as session:
        secret = session["csrf"]
    assert client.post("/change", headers={"X-CSRF-Token": secret}).text == "accepted"


@pytest.mark.parametrize("token", ["", "A", "AAAA", "é", "A" * 88, "=" * 9])
def test_other_tokens_are_refused(client: FlaskClient, token: str) -> None:
    client.get("/page")
    assert client.post("/change", data={"csrf": token}).text == "refused"
