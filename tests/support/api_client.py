"""A client of the API, and its requests."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.settings import Settings
from pipeline.web import create_app
from support.access import BEARER, TOKEN


def api_settings(redis_url: str, s3_server: S3Env, output: str) -> Settings:
    """Return settings with real servers; no vendor answers."""
    return Settings(
        redis_url=redis_url,
        s3_endpoint=s3_server.endpoint,
        output=output,
        secret=SecretStr("a-secret-of-the-tests"),
        api_token=SecretStr(TOKEN),
        wiro_api_url="http://127.0.0.1:1",
    )


def api_client(settings: Settings) -> FlaskClient:
    """Return a client that sends the token."""
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def a_manifest(items: int = 3, **more: Any) -> dict[str, Any]:
    """Return a manifest with the items i0, i1, …"""
    return {
        "version": 1,
        "name": "la-street",
        "items": [{"id": f"i{n}", "image": f"https://example.com/{n}.jpg", "prompt": f"p{n}"} for n in range(items)],
        **more,
    }


def send(client: FlaskClient, manifest: dict[str, Any], key: str | None = "b") -> TestResponse:
    """Create a batch with the id `key`."""
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/api/v1/batches", data=json.dumps(manifest), content_type="application/json", headers=headers)


def start(client: FlaskClient, ledger: Ledger, items: int = 3) -> str:
    """Create a running batch `b`; no worker processes it."""
    assert send(client, a_manifest(items)).status_code == 201
    ledger.batches.start("b", price_usd=Decimal(0), max_failures=1000)
    return "/api/v1/batches/b"


def body(response: TestResponse) -> dict[str, Any]:
    """Return the JSON object of a response."""
    document = response.get_json()
    assert isinstance(document, dict)
    return document
