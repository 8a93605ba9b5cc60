"""What a browser with a token can read from S3 through the dashboard, and how S3 sends it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import urllib3
from flask.testing import FlaskClient
from pydantic import SecretStr
from support.access import BEARER, TOKEN
from support.images import HTML, JPEG, PNG
from support.ledger_fixtures import COLLECTING, SUCCEEDED, a_batch_config, a_row, dues, running

from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web import create_app

IMAGE = "/batches/b/items/i0/image"
OUTPUT = "/batches/b/items/i0/outputs/0"


@pytest.fixture
def client(redis_url: str, storage: Storage, bucket: str, tmp_path: Path) -> FlaskClient:
    """A browser that is signed in. Outputs are under `out/`, images under `faces/`."""
    (tmp_path / "triggers.yaml").write_text(
        f"triggers: [{{name: inbox, source: listing, watch: '{bucket}inbox/', start: manifest, every_s: 10}}]"
    )
    settings = Settings(
        redis_url=redis_url,
        api_token=SecretStr(TOKEN),
        s3_endpoint=storage._endpoint,
        output=f"{bucket}out/",
        buckets=(f"{bucket}faces",),
        triggers=tmp_path / "triggers.yaml",
    )
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def a_batch(ledger: Ledger, output: str, image: str | None = None, trigger: str = "api") -> None:
    """Create the batch `b` with the item `i0`."""
    row = replace(a_row("b", 1), output=output, trigger=trigger)
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="digest")
    ledger.batches.accept("b")
    ledger.items.load("b", [("i0", {"image": image, "prompt": "p", "params": {}}, None)])
    ledger.batches.start("b", price_usd=Decimal(0), max_failures=10)


def a_batch_with_output(ledger: Ledger, folder: str, uri: str, content_type: str) -> None:
    a_batch(ledger, folder)
    running(ledger)
    output = {"uri": uri, "content_type": content_type, "size": 1, "sha256": "ab"}
    for due in dues(ledger):
        ledger.runs.record_success(due, Decimal("0.09"))
        ledger.runs.end(due.run, due.lease, COLLECTING, SUCCEEDED, {"outputs": [output]})


def follow(client: FlaskClient, path: str) -> Any:
    response = client.get(path)
    assert response.status_code == 302, response.text
    return urllib3.request("GET", response.headers["Location"])


@pytest.mark.parametrize(
    ("key", "trigger"),
    [
        ("out/b/inputs/1.png", "cli"),
        ("out/inputs/1.PNG", "api"),
        ("faces/new york/1.png", "api"),
        ("inbox/1.png", "trigger:inbox"),
    ],
)
def test_an_image_below_an_allowed_prefix_is_shown(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str, key: str, trigger: str
) -> None:
    storage.put(f"{bucket}{key}", PNG, "image/png")
    a_batch(ledger, f"{bucket}out/b/", f"{bucket}{key}", trigger)
    response = follow(client, IMAGE)
    assert (response.status, response.data, response.headers["Content-Type"]) == (200, PNG, "image/png")
    assert response.headers["Content-Disposition"] == "inline"
    assert IMAGE in client.get("/batches/b").text


@pytest.mark.parametrize(
    "key",
    [
        "private/payroll.txt",
        "private/1.png",
        "out/b/inputs/payroll.txt",
        "out/b/inputs/page.html",
        "out/b/inputs/drawing.svg",
        "faces2/1.png",
        "faces.png",
        "faces/../private/1.png",
        "faces//../private/1.png",
        "faces/%2e%2e/private/1.png",
        "faces/..%2Fprivate/1.png",
        "faces/..%5cprivate/1.png",
        "faces//1.png",
        "inbox/1.png",
    ],
)
def test_no_other_object_is_presigned(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str, key: str
) -> None:
    storage.put(f"{bucket}private/1.png", PNG, "image/png")
    if ".." not in key and "//" not in key:
        storage.put(f"{bucket}{key}", PNG, "image/png")
    a_batch(ledger, f"{bucket}out/b/", f"{bucket}{key}")
    assert client.get(IMAGE).status_code == 404
    assert IMAGE not in client.get("/batches/b").text


@pytest.mark.parametrize(
    ("data", "content_type", "is_shown"),
    [
        (HTML, "text/html", False),
        (HTML, "binary/octet-stream", False),
        (HTML, "image/svg+xml", False),
        (b"Anna 5,000 USD", "text/plain", False),
        (JPEG, "image/jpeg", True),
        (JPEG, "binary/octet-stream", True),
    ],
)
def test_an_image_must_be_stored_as_one(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str, data: bytes, content_type: str, is_shown: bool
) -> None:
    storage.put(f"{bucket}faces/1.jpg", data, content_type)
    a_batch(ledger, f"{bucket}out/b/", f"{bucket}faces/1.jpg")
    response = client.get(IMAGE)
    assert response.status_code == (302 if is_shown else 404)
    if is_shown:
        image = urllib3.request("GET", response.headers["Location"])
        assert (image.data, image.headers["Content-Type"]) == (data, "image/jpeg")


def test_an_image_of_several_items_has_one_address_at_s3(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    image = f"{bucket}out/b/inputs/1.png"
    storage.put(image, PNG, "image/png")
    a_batch(ledger, f"{bucket}out/b/", image)
    ledger.items.load("b", [("i1", {"image": image, "prompt": "q", "params": {}}, None)])
    paths = [IMAGE, IMAGE.replace("i0", "i1")]
    first, second = (client.get(path).headers["Location"] for path in paths)
    assert first == second


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "application/json", "application/zip"])
def test_an_output_that_is_no_image_video_or_sound_is_only_saved(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str, content_type: str
) -> None:
    uri = f"{bucket}out/b/items/i0/0.txt"
    storage.put(uri, HTML, content_type)
    a_batch_with_output(ledger, f"{bucket}out/b/", uri, content_type)
    response = follow(client, OUTPUT)
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", ""])
def test_an_output_that_an_older_version_stored_as_html_is_saved_and_not_rendered(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str, content_type: str
) -> None:
    uri = f"{bucket}out/b/items/i0/0.html"
    storage.put(uri, HTML, content_type)
    a_batch_with_output(ledger, f"{bucket}out/b/", uri, content_type)
    response = follow(client, OUTPUT)
    assert response.data == HTML
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")


def test_an_output_has_the_type_of_the_ledger_whatever_s3_has(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    uri = f"{bucket}out/b/items/i0/0.mp4"
    storage.put(uri, HTML, "text/html")
    a_batch_with_output(ledger, f"{bucket}out/b/", uri, "video/mp4")
    assert follow(client, OUTPUT).headers["Content-Type"] == "video/mp4"
    saved = follow(client, f"{OUTPUT}?save")
    assert saved.headers["Content-Disposition"] == "attachment; filename*=UTF-8''b-i0-0.mp4"


def test_an_output_outside_the_folder_of_its_batch_is_not_presigned(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    storage.put(f"{bucket}out/b2/0.mp4", b"video", "video/mp4")
    a_batch_with_output(ledger, f"{bucket}out/b/", f"{bucket}out/b2/0.mp4", "video/mp4")
    assert client.get(OUTPUT).status_code == 404


def test_results_are_saved_and_not_rendered(client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str) -> None:
    a_batch(ledger, f"{bucket}out/b/")
    storage.put(f"{bucket}out/b/results.csv", HTML, "text/html")
    response = follow(client, "/batches/b/files/results.csv")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
