"""A browser of the dashboard: pages as a signed-in user gets them."""

from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient
from pydantic import SecretStr

from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web import create_app
from support.access import BEARER, TOKEN


def dashboard_client(redis_url: str, storage: Storage, bucket: str, folder: Path) -> FlaskClient:
    """Return a client with the token. `folder` holds schedules.yaml and triggers.yaml."""
    settings = Settings(
        redis_url=redis_url,
        api_token=SecretStr(TOKEN),
        s3_endpoint=storage._endpoint,
        buckets=(bucket,),
        schedules=folder / "schedules.yaml",
        triggers=folder / "triggers.yaml",
    )
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def page(client: FlaskClient, path: str, status: int = 200) -> str:
    """Return the text of a page. It has `status` and a policy without `unsafe`."""
    response = client.get(path, headers={"Accept": "text/html"})
    assert response.status_code == status
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    return response.text
