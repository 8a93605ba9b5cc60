"""`GET /api/v1/batches/{id}/outputs.zip`, against a real Valkey and S3 server."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support.access import BEARER, TOKEN
from support.finished_batch import videos, with_outputs
from werkzeug.test import TestResponse

from pipeline.domain.model import Review
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web import create_app

VIDEOS = {**videos("woman-1", "woman-2"), "pair": [b"first", b"second"]}
ZIP = "/api/v1/batches/b/outputs.zip"


@pytest.fixture
def client(redis_url: str, storage: Storage, bucket: str, tmp_path: Path) -> FlaskClient:
    """A client with the token. At most one archive is sent at a time."""
    values = {"redis_url": redis_url, "api_token": TOKEN, "s3_endpoint": storage._endpoint, "output": bucket}
    client = create_app(Settings.model_validate({**values, "web_threads": 8})).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


@pytest.fixture
def folder(ledger: Ledger, storage: Storage, bucket: str) -> str:
    return with_outputs(ledger, storage, bucket, VIDEOS)


def content(response: TestResponse) -> dict[str, bytes]:
    assert response.status_code == 200, response.text
    archive = zipfile.ZipFile(io.BytesIO(response.data))
    # As a server does after the last byte.
    response.close()
    return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.usefixtures("folder")
def test_the_archive_has_all_outputs_under_readable_names(client: FlaskClient) -> None:
    response = client.get(ZIP)
    assert content(response) == {
        "b/woman-1.mp4": VIDEOS["woman-1"][0],
        "b/woman-2.mp4": VIDEOS["woman-2"][0],
        "b/pair-1.mp4": b"first",
        "b/pair-2.mp4": b"second",
    }
    assert response.content_type == "application/zip"
    assert response.headers["Content-Disposition"] == "attachment; filename=b.zip"
    assert "Content-Length" not in response.headers


@pytest.mark.usefixtures("folder")
def test_the_archive_can_have_the_approved_outputs_only_or_those_of_some_items(
    client: FlaskClient, ledger: Ledger
) -> None:
    assert client.get(f"{ZIP}?review=approved").status_code == 404
    ledger.items.review("b", "woman-2", Review("approved"))
    ledger.items.review("b", "pair", Review("rejected"))
    response = client.get(f"{ZIP}?review=approved")
    assert list(content(response)) == ["b/woman-2.mp4"]
    assert response.headers["Content-Disposition"] == "attachment; filename=b-approved.zip"
    assert list(content(client.get(f"{ZIP}?item=woman-1,woman-2"))) == ["b/woman-1.mp4", "b/woman-2.mp4"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/batches/nope/outputs.zip", 404),
        (f"{ZIP}?item=nope", 404),
        (f"{ZIP}?review=rejected", 400),
        (f"{ZIP}?state=failed", 400),
        (f"{ZIP}?item={'x,' * 501}", 400),
    ],
)
def test_a_selection_that_does_not_exist_is_an_error_and_not_an_empty_archive(
    client: FlaskClient, path: str, status: int
) -> None:
    response = client.get(path)
    assert (response.status_code, response.content_type) == (status, "application/problem+json")


@pytest.mark.usefixtures("folder")
def test_the_archive_needs_the_token(client: FlaskClient) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    assert client.get(ZIP).status_code == 401


@pytest.mark.usefixtures("folder")
def test_only_so_many_archives_are_sent_at_a_time_and_each_end_allows_the_next(client: FlaskClient) -> None:
    for _ in range(2):
        first = client.get(ZIP, buffered=False)
        busy = client.get(ZIP)
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "60")
        # A client that goes away before the end.
        first.close()
    assert client.head(ZIP, buffered=True).status_code == 200
    assert content(client.get(ZIP))


def test_if_s3_is_unavailable_the_response_is_an_error_and_not_half_an_archive(
    ledger: Ledger, storage: Storage, redis_url: str, bucket: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.storage.object_chunks._BACKOFF_S", 0)
    values = {"redis_url": redis_url, "api_token": TOKEN, "s3_endpoint": "http://127.0.0.1:1", "output": bucket}
    client = create_app(Settings.model_validate({**values, "web_threads": 8})).test_client()
    for _ in range(2):
        assert client.get(ZIP, headers=BEARER).status_code == 503
