"""Previews: requests survive crashes and end, nothing else suffers, and browsers load each preview once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from rq import Queue
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs
from support.access import BEARER, TOKEN
from support.ledger_fixtures import COLLECTING, SUCCEEDED, a_batch_config, a_row, dues, running
from support.media import a_video, an_image

from jobs.context import Context
from jobs.make_previews import serve_requests
from pipeline.batches.job_queue import PREVIEWS_QUEUE, QUEUE, Job, JobQueue
from pipeline.batches.preview_maker import PreviewMaker
from pipeline.batches.preview_requests import PreviewRequests
from pipeline.batches.service import Service
from pipeline.domain.model import Output
from pipeline.domain.preview_names import image_preview, output_preview
from pipeline.errors import StorageError, Unreachable
from pipeline.ledger import keys, redis_client
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.previews import MAX_ATTEMPTS, PreviewStore
from pipeline.net.download import Downloader
from pipeline.settings import Settings
from pipeline.storage.s3 import ObjectInfo, Storage
from pipeline.triggers.input_images import InputImages
from pipeline.web import create_app


@pytest.fixture
def settings(redis_url: str, storage: Storage, bucket: str, tmp_path: Path) -> Settings:
    return Settings(
        redis_url=redis_url,
        api_token=SecretStr(TOKEN),
        s3_endpoint=storage._endpoint,
        output=f"{bucket}out/",
        triggers=tmp_path / "triggers.yaml",
        schedules=tmp_path / "schedules.yaml",
    )


@pytest.fixture
def ctx(settings: Settings, storage: Storage) -> Context:
    return cast(Context, SimpleNamespace(service=Service.connect(settings, storage=storage)))


def maker(ctx: Context, storage: Storage | None = None, fetch_hosts: tuple[str, ...] = ()) -> PreviewMaker:
    images = InputImages(ctx.service.settings.prefixes, lambda: ())
    downloader = Downloader(fetch_hosts, max_bytes=1_000_000, any_public=True)
    return PreviewMaker(storage or ctx.service.storage, downloader, ctx.service.ledger.previews, images.allow)


def a_batch(ledger: Ledger, folder: str, *images: str | None) -> None:
    """Create the batch `b` with the items `i0`, `i1`, … and run it."""
    row = replace(a_row("b", len(images)), output=folder)
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="digest")
    ledger.batches.accept("b")
    specs: list[tuple[str, dict[str, Any], None]] = [
        (f"i{n}", {"image": image, "prompt": "p", "params": {}}, None) for n, image in enumerate(images)
    ]
    ledger.items.load("b", specs)
    ledger.batches.start("b", price_usd=Decimal(0), max_failures=10)
    running(ledger)


def end_all(ledger: Ledger, storage: Storage, folder: str, data: bytes, media_type: str = "video/mp4") -> Output:
    """End every item with the same output. Return that of the last."""
    for due in dues(ledger):
        output = Output(f"{folder}items/{due.run.item}/0.mp4", media_type, len(data), "ab" * 32)
        storage.put(output.uri, data, media_type)
        ledger.runs.record_success(due, Decimal("0.09"))
        document = {"uri": output.uri, "content_type": media_type, "size": output.size, "sha256": output.sha256}
        ledger.runs.end(due.run, due.lease, COLLECTING, SUCCEEDED, {"outputs": [document]})
    return output


def previews(storage: Storage, folder: str) -> set[str]:
    return {info.uri.removeprefix(f"{folder}previews/") for info in storage.list(f"{folder}previews/")}


def test_a_poster_and_a_thumbnail_are_made_and_shown_on_the_page(
    ctx: Context, ledger: Ledger, storage: Storage, bucket: str, settings: Settings
) -> None:
    folder = f"{bucket}out/b/"
    image = f"{folder}inputs/1.png"
    storage.put(image, an_image((900, 600)), "image/png")
    a_batch(ledger, folder, image, image)
    output = end_all(ledger, storage, folder, a_video())
    poster = output_preview(output) or ""
    ctx.service.previews.request("b", "i0")
    serve_requests(ctx, maker(ctx))
    assert previews(storage, folder) == {poster, image_preview(image)}
    assert ledger.previews.claim(lease_s=60) is None
    client = a_client(settings)
    page = client.get("/batches/b").text
    # Both items have the same image: it has one address.
    assert page.count(f'src="/batches/b/previews/{image_preview(image)}"') == 2
    assert f'poster="/batches/b/previews/{poster}"' in page
    assert client.get("/batches/b/items/i0/0/preview").data == storage.get(f"{folder}previews/{poster}")


def a_client(settings: Settings) -> FlaskClient:
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def test_a_preview_is_loaded_once_and_only_with_a_token(
    ledger: Ledger, storage: Storage, bucket: str, settings: Settings
) -> None:
    folder = f"{bucket}out/b/"
    a_batch(ledger, folder, None)
    name = image_preview("s3://some/image.png")
    storage.put(f"{folder}previews/{name}", b"webp", "text/html")
    client = a_client(settings)
    response = client.get(f"/batches/b/previews/{name}")
    assert (response.data, response.headers["Content-Type"]) == (b"webp", "image/webp")
    assert response.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    same = client.get(f"/batches/b/previews/{name}", headers={"If-None-Match": response.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    for other in (image_preview("other"), "..%2fmanifest.yaml", "results.json", name + "x"):
        assert client.get(f"/batches/b/previews/{other}").status_code == 404
    assert create_app(settings).test_client().get(f"/batches/b/previews/{name}").status_code in (303, 401)


def test_without_previews_pages_show_the_files_and_load_no_video(
    ledger: Ledger, storage: Storage, bucket: str, settings: Settings
) -> None:
    folder = f"{bucket}out/b/"
    image = f"{folder}inputs/1.png"
    storage.put(image, an_image((9, 6)), "image/png")
    a_batch(ledger, folder, image)
    end_all(ledger, storage, folder, b"video")
    page = a_client(settings).get("/batches/b").text
    assert 'src="/batches/b/items/i0/image"' in page
    assert 'preload="none"' in page
    assert "poster=" not in page
    assert a_client(settings).get("/batches/b/items/i0/0/preview").location == "/batches/b/items/i0/outputs/0"
    assert a_client(settings).get("/batches/b/items/i0/1/preview").status_code == 404


def test_an_image_that_may_not_be_shown_has_no_preview(
    ctx: Context, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    private = f"{bucket}private/payroll.png"
    storage.put(private, an_image((9, 6)), "image/png")
    a_batch(ledger, f"{bucket}out/b/", private, f"{bucket}out/../private/payroll.png")
    ctx.service.previews.request("b")
    serve_requests(ctx, maker(ctx))
    assert previews(storage, f"{bucket}out/b/") == set()


@pytest.fixture
def image_server() -> Iterator[tuple[str, list[str]]]:
    """The `host:port` of a server of images, and the paths that were requested."""
    paths: list[str] = []
    image = an_image((900, 600))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(image)))
            self.end_headers()
            self.wfile.write(image)

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("is_named", [True, False])
def test_an_image_at_a_url_is_read_from_public_and_from_named_addresses(
    ctx: Context,
    ledger: Ledger,
    storage: Storage,
    bucket: str,
    settings: Settings,
    image_server: tuple[str, list[str]],
    is_named: bool,
) -> None:
    host, paths = image_server
    image = f"http://{host}/1.png"
    a_batch(ledger, f"{bucket}out/b/", image, image)
    ctx.service.previews.request("b")
    serve_requests(ctx, maker(ctx, fetch_hosts=(host,) if is_named else ()))
    assert paths == (["/1.png"] if is_named else [])
    page = a_client(settings).get("/batches/b").text
    assert (f'src="/batches/b/previews/{image_preview(image)}"' in page) is is_named


@pytest.mark.parametrize("data", [b"", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", a_video()[:400]])
def test_a_file_without_a_preview_is_given_up_and_delays_no_other(
    ctx: Context, ledger: Ledger, storage: Storage, bucket: str, data: bytes
) -> None:
    folder = f"{bucket}out/b/"
    image = f"{folder}inputs/1.png"
    storage.put(image, an_image((9, 6)), "image/png")
    a_batch(ledger, folder, image)
    output = end_all(ledger, storage, folder, data)
    ctx.service.previews.request("b", "i0")
    serve_requests(ctx, maker(ctx))
    assert previews(storage, folder) == {image_preview(image)}
    assert ledger.previews.missing("b", [output_preview(output) or ""]) == []
    assert not ledger.previews.has_due()


def test_a_request_survives_the_crash_of_its_worker_and_has_an_end(ledger: Ledger, bucket: str) -> None:
    a_batch(ledger, f"{bucket}out/b/", None)
    ledger.previews.request("b", ["i0"])
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert ledger.previews.has_due()
        request = ledger.previews.claim(lease_s=0)
        assert request
        assert (request.batch_id, request.item_id, request.attempt) == ("b", "i0", attempt)
    assert ledger.previews.claim(lease_s=0) is None
    assert ledger.redis.zcard(keys.PREVIEWS) == 0


def test_a_leased_request_is_of_one_worker_until_its_lease_expires(ledger: Ledger, bucket: str) -> None:
    a_batch(ledger, f"{bucket}out/b/", None)
    ledger.previews.request("b", ["i0"])
    first = ledger.previews.claim(lease_s=60)
    assert first
    assert ledger.previews.claim(lease_s=60) is None
    # An output of the item is there meanwhile: it is requested again, and the first worker does not remove that.
    ledger.previews.request("b", ["i0"])
    assert not ledger.previews.complete(first)
    second = ledger.previews.claim(lease_s=60)
    assert second
    ledger.previews.request("b", ["i0"], only_new=True)
    assert ledger.previews.complete(second)
    assert not ledger.previews.are_due("b", ["i0"])


@pytest.mark.parametrize("member", ["gone i0", "b ../x", "b", "", "a b c", "b:x i0", "\x00 \x00"])
def test_a_request_that_cannot_be_served_is_removed(ledger: Ledger, bucket: str, member: str) -> None:
    a_batch(ledger, f"{bucket}out/b/", None)
    ledger.redis.zadd(keys.PREVIEWS, {member: 0})
    ledger.previews.request("b", ["i0"])
    request = ledger.previews.claim(lease_s=60)
    assert request
    assert request.item_id == "i0"
    assert ledger.redis.zcard(keys.PREVIEWS) == 1


def test_requests_have_a_maximum(ledger: Ledger, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ledger.previews.MAX_REQUESTS", 5)
    a_batch(ledger, f"{bucket}out/b/", None)
    ledger.previews.request("b", [f"i{n}" for n in range(20)])
    assert ledger.redis.zcard(keys.PREVIEWS) == 5


class FailingStorage:
    """S3 is unavailable."""

    def info(self, uri: str) -> None:
        raise StorageError("S3 does not answer.", retryable=True)


def test_while_s3_is_away_the_previews_wait_with_backoff(ctx: Context, ledger: Ledger, bucket: str) -> None:
    folder = f"{bucket}out/b/"
    a_batch(ledger, folder, f"{folder}inputs/1.png")
    ctx.service.previews.request("b", "i0")
    serve_requests(ctx, maker(ctx, cast(Storage, FailingStorage())))
    assert not ledger.previews.has_due()
    assert ledger.previews.are_due("b", ["i0"])


def test_the_gallery_of_an_ended_batch_gets_its_previews(
    ctx: Context, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    folder = f"{bucket}out/b/"
    a_batch(ledger, folder, None)
    output = end_all(ledger, storage, folder, a_video())
    storage.put(f"{folder}index.html", b"the page of the job finish", "text/html")
    ledger.redis.hset(keys.batch_key("b"), mapping={"status": "succeeded", "finished": 1})
    ctx.service.previews.request("b")
    serve_requests(ctx, maker(ctx))
    # The search of the batch waits until the previews that it has requested are made.
    ledger.redis.zadd(keys.PREVIEWS, {"b ": 0}, xx=True)
    serve_requests(ctx, maker(ctx))
    assert f'poster="previews/{output_preview(output)}"'.encode() in (storage.get(f"{folder}index.html") or b"")
    assert ledger.redis.zcard(keys.PREVIEWS) == 0


def end_with_previews(ctx: Context, ledger: Ledger, storage: Storage, folder: str) -> None:
    """End a batch at `folder` and make the previews of its item. It has no gallery yet."""
    a_batch(ledger, folder, None)
    end_all(ledger, storage, folder, a_video())
    ledger.redis.hset(keys.batch_key("b"), mapping={"status": "succeeded", "finished": 1})
    ctx.service.previews.request("b", "i0")
    serve_requests(ctx, maker(ctx))


@pytest.mark.parametrize("times", [1, 9])
def test_a_gallery_that_others_change_meanwhile_is_written_again_and_logged(
    times: int, ctx: Context, ledger: Ledger, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{bucket}out/b/"
    end_with_previews(ctx, ledger, storage, folder)
    put_if_match, left = Storage.put_if_match, iter(range(times))

    def others_are_faster(self: Storage, uri: str, *args: Any) -> bool:
        return False if next(left, None) is not None else put_if_match(self, uri, *args)

    monkeypatch.setattr(Storage, "put_if_match", others_are_faster)
    ctx.service.previews.request("b")
    with capture_logs() as events:
        serve_requests(ctx, maker(ctx))
    logged = [event["event"] for event in events]
    is_written = storage.info(f"{folder}index.html") is not None
    assert is_written is (times == 1)
    assert logged == (["gallery_written"] if is_written else ["gallery_not_written", "previews_deferred"])
    assert ledger.redis.zcard(keys.PREVIEWS) == (0 if is_written else 1)


def test_an_old_gallery_does_not_replace_that_of_a_batch_that_was_opened_again(
    ctx: Context, ledger: Ledger, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{bucket}out/b/"
    end_with_previews(ctx, ledger, storage, folder)
    info = Storage.info

    def info_and_reopen(self: Storage, uri: str) -> ObjectInfo | None:
        if uri.endswith("index.html"):
            storage.put(uri, b"of revision 2", "text/html")
            ledger.redis.hset(keys.batch_key("b"), mapping={"revision": 2})
        return info(self, uri)

    monkeypatch.setattr(Storage, "info", info_and_reopen)
    ctx.service.previews.request("b")
    serve_requests(ctx, maker(ctx))
    assert storage.get(f"{folder}index.html") == b"of revision 2"
    assert ledger.redis.zcard(keys.PREVIEWS) == 0


def test_jobs_for_previews_wait_in_their_own_queue_which_does_not_grow(redis_url: str) -> None:
    connection: Any = redis_client.connect(redis_url, decode=False)
    for _ in range(5):
        JobQueue(redis_url).enqueue_previews()
        # The flag of a pending job expires.
        JobQueue(redis_url).clear_pending(Job.MAKE_PREVIEWS)
    counts = [Queue(name, connection=connection, serializer=JSONSerializer).count for name in (QUEUE, PREVIEWS_QUEUE)]
    assert counts == [0, 1]


class AwayStore:
    """Redis is unavailable."""

    def request(self, batch_id: str, item_ids: list[str]) -> None:
        raise Unreachable("Redis", "away")


def test_a_request_that_fails_fails_nothing_else(redis_url: str) -> None:
    requests = PreviewRequests(cast(PreviewStore, AwayStore()), JobQueue(redis_url), is_enabled=True)
    requests.request("b", "i0")
