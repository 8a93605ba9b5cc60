"""Requests for images to a real server, and the commands that check a manifest with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.images import HTML, JPEG
from werkzeug import Request, Response
from werkzeug.serving import make_server

from pipeline.cli.main import main
from pipeline.net.image_request import ImageRequests, NoImageResponse

ASKED: list[str] = []


def respond(request: Request) -> Response:
    match request.path:
        case "/good.jpg":
            return Response(JPEG, content_type="image/jpeg")
        case "/lie.jpg":
            return Response(HTML, content_type="image/jpeg")
        case "/signed.jpg":
            assert request.range
            head = JPEG[: request.range.ranges[0][1]]
            return Response(head, 206, {"Content-Range": f"bytes 0-{len(head) - 1}/{len(JPEG)}"})
        case "/private.jpg":
            return Response(status=302, headers={"Location": "/login"})
        case "/login" | "/page.jpg":
            return Response(HTML, content_type="text/html")
        case "/inside.jpg":
            return Response(status=302, headers={"Location": "http://127.0.0.1:1/secret.jpg"})
        case "/loop.jpg":
            return Response(status=302, headers={"Location": "/loop.jpg"})
        case _:
            return Response("no", 404)


@pytest.fixture
def address() -> Iterator[str]:
    """`host:port` of a server of images."""
    ASKED.clear()

    def application(environ: dict[str, object], start_response: object) -> object:
        request = Request(environ)
        ASKED.append(f"{request.method} {request.path}")
        return respond(request)(environ, start_response)  # type: ignore[arg-type]  # WSGI

    server = make_server("127.0.0.1", 0, application, threaded=True)  # type: ignore[arg-type]  # WSGI
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_the_first_bytes_are_requested(address: str) -> None:
    response = ImageRequests([address]).fetch(f"http://{address}/signed.jpg")
    assert (response.status, response.size, response.head) == (206, len(JPEG), JPEG)
    assert ASKED == ["GET /signed.jpg"]


def test_a_server_that_ignores_ranges_is_read_no_further_than_that(address: str) -> None:
    response = ImageRequests([address]).fetch(f"http://{address}/good.jpg")
    assert (response.status, response.content_type, response.size) == (200, "image/jpeg", len(JPEG))
    assert response.head == JPEG[:512]


def test_a_private_address_is_not_connected_to_unless_it_is_named(address: str) -> None:
    with pytest.raises(NoImageResponse, match="private addresses only"):
        ImageRequests([]).fetch(f"http://{address}/good.jpg")
    assert ASKED == []
    with pytest.raises(NoImageResponse, match="private addresses only"):
        ImageRequests([address]).fetch(f"http://{address}/inside.jpg")


def test_redirects_without_an_end_are_followed_five_times(address: str) -> None:
    assert ImageRequests([address]).fetch(f"http://{address}/loop.jpg").status == 302
    assert len(ASKED) == 6


def test_validate_reports_images_that_cannot_run_at_their_lines(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_FETCH_HOSTS", address)
    file = tmp_path / "m.yaml"
    names = ["good", "gone", "page", "private", "signed", "lie"]
    items = "".join(f"  - {{image: 'http://{address}/{name}.jpg', prompt: x}}\n" for name in names)
    file.write_text(f"version: 1\nname: m\nitems:\n{items}  - {{image: 'http://127.0.0.1:1/x.jpg', prompt: x}}\n")
    for command in (["validate", "--check-images"], ["submit", "--dry-run"], ["submit", "--check-images"]):
        result = CliRunner().invoke(main, [*command, str(file)])
        assert result.exit_code == 2
        errors = [line for line in result.output.splitlines() if "warning" not in line]
        assert [error.removeprefix(f"{file}:").partition(": ")[0] for error in errors] == [
            "5:13",
            "6:13",
            "7:13",
            "9:13",
        ]
        assert "HTTP 404" in errors[0]
        assert "is an HTML page" in errors[1]
        assert f"redirects to an HTML page, http://{address}/login" in errors[2]
        assert f"{file}:10:13: warning: image was not checked" in result.stderr
    assert CliRunner().invoke(main, ["validate", str(file)]).exit_code == 0
