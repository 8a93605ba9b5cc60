"""The API against real servers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support.access import BEARER
from support.api_client import a_manifest, api_client, api_settings, body, send, start
from support.ledger_fixtures import CANCELLED, FAILED, RUNNING, SUBMITTING, claims, dues, fail, running

from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web import create_app

PORTRAIT = Path("config/samples/portrait.jpg")


@pytest.fixture
def settings(redis_url: str, s3_server: S3Env, storage: Storage, bucket: str) -> Settings:
    return api_settings(redis_url, s3_server, bucket)


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    return api_client(settings)


def test_a_manifest_becomes_a_batch(client: FlaskClient) -> None:
    response = send(client, a_manifest())
    assert response.status_code == 201
    assert response.headers["Location"] == "/api/v1/batches/b"
    batch = body(client.get(response.headers["Location"]))
    assert (batch["id"], batch["total"], batch["trigger"], batch["results"]) == ("b", 3, "api", None)


def test_the_same_key_again_returns_the_same_batch(client: FlaskClient) -> None:
    send(client, a_manifest())
    again = send(client, a_manifest())
    assert again.status_code == 200
    assert len(body(client.get("/api/v1/batches"))["batches"]) == 1


def test_yaml_is_accepted_like_json_and_an_id_is_generated(client: FlaskClient) -> None:
    text = 'version: 1\nname: la-street\nitems:\n  - {image: "https://example.com/1.jpg", prompt: "täke"}\n'
    response = client.post("/api/v1/batches", data=text.encode(), content_type="application/yaml")
    assert response.status_code == 201
    assert body(response)["id"].startswith("la-street-")


def test_manifest_errors_are_returned_with_their_positions(client: FlaskClient) -> None:
    text = "version: 1\nname: la-street\nitems:\n  - {image: faces/1.jpg, prompt: p}\n"
    response = client.post("/api/v1/batches", data=text)
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    [error] = body(response)["errors"]
    assert error["line"] > 1
    assert body(client.get("/api/v1/batches"))["batches"] == []


@pytest.mark.parametrize("key", ["../b", "a/b", "-b", "b" * 129, "b..c"])
def test_a_key_that_cannot_be_a_batch_id_is_refused(client: FlaskClient, key: str) -> None:
    assert send(client, a_manifest(), key).status_code == 422


def test_buckets_that_are_not_allowed_are_refused(client: FlaskClient) -> None:
    text = """version: 1
name: la-street
items:
  - {image: "https://example.com/1.jpg", prompt: p}
  - {image: "s3://other-bucket/1.jpg", prompt: p}
"""
    response = client.post("/api/v1/batches", data=text)
    assert response.status_code == 422
    [error] = body(response)["errors"]
    assert (error["line"], error["column"]) == (5, 14)
    assert "other-bucket" in error["message"]
    assert send(client, a_manifest(output="s3://other-bucket/out/")).status_code == 422


def test_the_prefix_of_the_outputs_is_allowed(client: FlaskClient, bucket: str) -> None:
    manifest = a_manifest(1)
    manifest["items"][0]["image"] = f"{bucket}faces/1.jpg"
    assert send(client, manifest).status_code == 201


def test_the_rest_of_the_bucket_of_the_outputs_is_not_allowed(client: FlaskClient, bucket: str) -> None:
    prefix = bucket.removesuffix("/")
    for uri in (
        "s3://tests/private/payroll.txt",
        f"{prefix}2/1.jpg",
        f"{bucket}../private/payroll.txt",
        f"{bucket}%2e%2e/private/payroll.txt",
        f"{bucket}x/..%2f..%2fprivate/payroll.txt",
        f"{bucket}/1.jpg",
    ):
        manifest = a_manifest(1)
        manifest["items"][0]["image"] = uri
        assert send(client, manifest).status_code == 422, uri
        rows = f"version: 1\nname: la-street\nitems_from: '{uri}.csv'\n"
        assert client.post("/api/v1/batches", data=rows).status_code == 422, uri
        assert send(client, a_manifest(output=f"{uri}/")).status_code == 422, uri


def test_files_of_the_server_cannot_be_read(client: FlaskClient) -> None:
    for manifest in (a_manifest(items_from="/etc/passwd"), a_manifest(items_from="s3://other-bucket/rows.csv")):
        response = send(client, manifest)
        assert response.status_code == 422
        assert "root:" not in response.text


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    response = client.post("/api/v1/batches", data=b"x" * (8 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.content_type == "application/problem+json"


def test_batches_are_listed_in_pages(client: FlaskClient) -> None:
    for number in range(3):
        send(client, a_manifest(1), f"b{number}")
    first = body(client.get("/api/v1/batches?limit=2"))
    second = body(client.get(f"/api/v1/batches?limit=2&cursor={first['next']}"))
    assert [batch["id"] for batch in first["batches"] + second["batches"]] == ["b2", "b1", "b0"]
    assert second["next"] is None


def test_items_are_listed_in_pages_and_by_state(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger, items=5)
    running(ledger, 2)
    page = body(client.get(f"{at}/items?limit=3"))
    assert [item["id"] for item in page["items"]] == ["i0", "i1", "i2"]
    rest = body(client.get(f"{at}/items?limit=3&cursor={page['next']}"))
    assert [item["id"] for item in rest["items"]] == ["i3", "i4"]
    matches = body(client.get(f"{at}/items?status=running,failed&text=P1"))
    assert [item["id"] for item in matches["items"]] == ["i1"]
    assert body(client.get(f"{at}/items/i1"))["status"] == "running"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=501", "cursor=x", "status=nonsense", "nonsense=1", "limit=1&limit=2"]
)
def test_an_invalid_query_is_400_and_names_the_parameter(client: FlaskClient, ledger: Ledger, query: str) -> None:
    response = client.get(f"{start(client, ledger)}/items?{query}")
    assert response.status_code == 400
    assert query.partition("=")[0] in body(response)["detail"]


def test_a_missing_resource_is_404(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    for path in ("/api/v1/batches/nope", "/api/v1/batches/nope/items", f"{at}/items/nope"):
        response = client.get(path)
        assert response.status_code == 404
        assert "nope" in body(response)["detail"]
    assert client.post("/api/v1/batches/nope/cancel").status_code == 404


def test_a_batch_is_paused_resumed_and_cancelled(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    assert body(client.post(f"{at}/pause"))["status"] == "paused"
    assert body(client.post(f"{at}/resume"))["status"] == "running"
    batch = body(client.post(f"{at}/cancel"))
    assert (batch["status"], batch["counts"]) == ("cancelling", {"cancelled": 3})


def test_failed_items_are_retried(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    running(ledger)
    for due in dues(ledger):
        ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "no"})
    assert body(client.post(f"{at}/items/i1/retry")) == {"reopened": 1}
    assert body(client.post(f"{at}/items/i1/retry")) == {"reopened": 0}
    assert body(client.post(f"{at}/retry")) == {"reopened": 2}
    assert body(client.post(f"{at}/retry", json={"status": ["cancelled"]})) == {"reopened": 0}
    assert client.post(f"{at}/retry", json={"status": ["succeeded"]}).status_code == 422
    assert client.post(f"{at}/retry", data="x", content_type="text/plain").status_code == 415


def test_failed_items_of_one_cause_are_retried(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    running(ledger)
    fail(ledger, "http://a/1: gone", "face not found", "http://a/2: gone")
    failures = body(client.get(at))["failures"]
    assert failures == [{"cause": "…: gone", "count": 2}, {"cause": "face not found", "count": 1}]
    assert body(client.post(f"{at}/retry", json={"cause": "nothing"})) == {"reopened": 0}
    assert body(client.post(f"{at}/retry", json={"cause": "…: gone"})) == {"reopened": 2}
    assert body(client.get(at))["failures"] == [{"cause": "face not found", "count": 1}]
    assert client.post(f"{at}/retry", json={"cause": "x", "status": ["unknown"]}).status_code == 422
    assert client.post("/api/v1/batches/nope/retry", json={"cause": "x"}).status_code == 404


def test_unknown_and_cancelled_items_are_retried_only_when_named(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    first, second, third = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.end(first.run, first.lease, SUBMITTING, CANCELLED, {"error": "no"})
    for unknown in (second, third):
        ledger.runs.mark_unknown(unknown.run, unknown.lease, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    assert body(client.post(f"{at}/retry")) == {"reopened": 0}
    for item in ("i0", "i1", "i2"):
        assert body(client.post(f"{at}/items/{item}/retry")) == {"reopened": 0}
    assert body(client.post(f"{at}/items/i0/retry", json={"status": ["cancelled"]})) == {"reopened": 1}
    assert body(client.post(f"{at}/items/i1/retry", json={"status": ["unknown"]})) == {"reopened": 1}
    assert body(client.post(f"{at}/retry", json={"status": ["unknown"]})) == {"reopened": 1}


def test_the_account_is_paused_and_resumed(client: FlaskClient) -> None:
    assert body(client.get("/api/v1/account"))["paused_reason"] is None
    assert body(client.post("/api/v1/account/pause"))["paused_reason"]
    assert body(client.post("/api/v1/account/resume"))["paused_reason"] is None


def test_an_estimate_enqueues_nothing(client: FlaskClient) -> None:
    response = client.post("/api/v1/estimate", json=a_manifest())
    assert body(response)["items"] == 3
    assert body(client.get("/api/v1/batches"))["batches"] == []


def test_an_unchanged_document_is_304(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    etag = client.get(at).headers["ETag"]
    again = client.get(at, headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    client.post(f"{at}/pause")
    assert client.get(at, headers={"If-None-Match": etag}).status_code == 200


def test_an_image_is_stored_once(client: FlaskClient, storage: Storage, bucket: str) -> None:
    image = PORTRAIT.read_bytes()
    first = client.post("/api/v1/inputs", data=image, content_type="image/jpeg")
    assert first.status_code == 201
    stored = body(first)
    assert stored["uri"] == f"{bucket}inputs/{hashlib.sha256(image).hexdigest()}.jpg"
    assert storage.get(stored["uri"]) == image
    info = storage.info(stored["uri"])
    assert info is not None
    assert info.content_type == "image/jpeg"
    assert client.post("/api/v1/inputs", data=image).status_code == 200


def test_an_image_that_was_uploaded_before_the_batch_is_copied_to_its_folder(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    sent = body(client.post("/api/v1/inputs", data=PORTRAIT.read_bytes()))["uri"]
    gone = f"{bucket}inputs/gone.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": "p"} for n, image in enumerate((sent, gone))]
    manifest = {"version": 1, "name": "b", "items": items}
    response = client.post("/api/v1/batches", json=manifest, headers={"Idempotency-Key": "b"})
    assert response.status_code == 201, response.text
    own = f"{bucket}b/{sent.removeprefix(bucket)}"
    assert [ledger.items.spec("b", name)["image"] for name in ("i0", "i1")] == [own, gone]
    info = storage.info(own)
    assert info
    assert (info.size, info.content_type) == (PORTRAIT.stat().st_size, "image/jpeg")
    assert own.encode() in (storage.get(f"{bucket}b/manifest.yaml") or b"")


@pytest.mark.parametrize(
    "data", [b"", b"<svg onload=alert(1)>", b"GIF", b"RIFF0000WAVE", b"\xff\xd8", b"\0\5\x16\7\0\2"]
)
def test_a_body_that_is_not_an_image_is_not_stored(client: FlaskClient, data: bytes) -> None:
    assert client.post("/api/v1/inputs", data=data, content_type="image/png").status_code == 415


def test_an_image_that_is_too_large_is_not_stored(client: FlaskClient) -> None:
    image = PORTRAIT.read_bytes()[:100] + bytes(25 * 1024 * 1024)
    assert client.post("/api/v1/inputs", data=image).status_code == 413


def test_without_redis_the_api_returns_503_and_no_secret(settings: Settings) -> None:
    lost = settings.model_copy(update={"redis_url": "redis://:a-redis-password@127.0.0.1:1/0"})
    client = create_app(lost).test_client()
    response = client.get("/api/v1/batches", headers=BEARER)
    assert response.status_code == 503
    assert "a-redis-password" not in response.text
    assert response.headers["Retry-After"]


def test_the_api_page_shows_every_endpoint(client: FlaskClient) -> None:
    spec = body(client.get("/openapi.json"))
    page = client.get("/docs").text
    for path, methods in spec["paths"].items():
        assert path in page
        assert all("summary" in operation for operation in methods.values())
    assert "http://" not in page.replace('href="#', "")


def nested(levels: int) -> str:
    return "version: 1\nname: x\nparams: " + "{a: " * levels + "1" + "}" * levels + "\nitems: [{prompt: p}]\n"


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb().encode(),
        nested(100).encode(),
        b"[" * 100_000,
        b"!!python/object/apply:os.system ['id']",
        b"version: 1\nname: x\nitems: [{prompt: !!python/name:os.system }]",
        b"version: 1\nname: x\nparams: {seed: .nan}\nitems: [{prompt: p}]\n",
        b'{"version": 1, "name": "x", "params": {"seed": NaN}, "items": [{"prompt": "p"}]}',
        b'{"version": 1, "name": "x", "items": [{"prompt": "\\ud800"}]}',
        b"version: 1\nname: x\nitems: [{prompt: \xed\xa0\x80}]",
        b"\xff\xfe\x00",
        b"version: 1\nname: x\nitems: [{prompt: '" + b"p" * 7_000_000 + b"'}]",
        b"",
        b"null",
        b"- 1",
    ],
    ids=range(14),
)
def test_a_hostile_manifest_is_refused_and_enqueues_nothing(client: FlaskClient, ledger: Ledger, text: bytes) -> None:
    response = client.post("/api/v1/batches", data=text)
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    assert len(response.data) < 100_000
    assert ledger.batches.open_ids() == []


def test_the_number_of_returned_errors_is_limited(client: FlaskClient) -> None:
    response = client.post("/api/v1/batches", json=a_manifest(0) | {"items": [{"nonsense": 1}] * 50_000})
    assert response.status_code == 422
    assert len(body(response)["errors"]) <= 200


def test_names_are_escaped_in_error_pages(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    path = f"{at}/items/%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    assert client.get(path).status_code == 404
    page = client.get("/%3Cscript%3Ealert(1)%3C/script%3E", headers={"Accept": "text/html"})
    assert "<script>" not in page.text


@pytest.mark.parametrize(
    "batch_id", ["b:specs", "b:order", "b:pending", "..", "a b", "%20", "-live-check", "x" * 129, "b%0a"]
)
def test_ids_that_are_not_valid_are_of_nothing(client: FlaskClient, ledger: Ledger, batch_id: str) -> None:
    start(client, ledger)
    ledger.redis.set("dailies:item:b:i0:x", "a text")
    paths = [
        ("GET", f"/api/v1/batches/{batch_id}"),
        ("GET", f"/api/v1/batches/{batch_id}/items"),
        ("GET", f"/api/v1/batches/{batch_id}/items/i0"),
        ("GET", f"/api/v1/batches/{batch_id}/events"),
        *(("POST", f"/api/v1/batches/{batch_id}/{action}") for action in ("cancel", "pause", "resume", "retry")),
        ("GET", f"/api/v1/batches/b/items/{batch_id}"),
        ("POST", f"/api/v1/batches/b/items/{batch_id}/review"),
        ("POST", f"/api/v1/batches/b/items/{batch_id}/again"),
        ("GET", f"/batches/{batch_id}"),
        ("GET", f"/batches/{batch_id}/files/results.json"),
        ("GET", f"/batches/b/items/{batch_id}/image"),
    ]
    statuses = {client.open(path, method=method).status_code for method, path in paths}
    assert statuses <= {404, 405, 308}
    assert send(client, a_manifest(), "b:specs").status_code == 422
