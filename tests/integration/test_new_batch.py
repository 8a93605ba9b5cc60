"""The routes of the page of a new batch, against real servers and the sandbox."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from support.access import BEARER, TOKEN
from support.images import JPEG

from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web import create_app
from pipeline.web.api import heic_images
from pipeline.web.security.authentication import CSRF_HEADER

MODEL = "acme/video-tiers"
UNDESCRIBED = "acme/undescribed"
TABLE = (
    "ID;Image URL;Prompt ;resolution;Notes;\r\na;https://example.com/ä.jpg;Sie lächelt;1080p;nicht senden;\r\n;;;;;\r\n"
)


@pytest.fixture
def client(redis_url: str, storage: Storage, bucket: str, sandbox: Sandbox) -> FlaskClient:
    settings = Settings(
        redis_url=redis_url,
        api_token=SecretStr(TOKEN),
        s3_endpoint=storage._endpoint,
        output=bucket,
        wiro_api_url=sandbox.url,
        wiro_api_key=SecretStr(sandbox.key),
        wiro_api_secret=SecretStr(sandbox.secret),
    )
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def validate(client: FlaskClient, **batch: Any) -> dict[str, Any]:
    response = client.post("/new/validate", data=json.dumps(batch), content_type="application/json")
    assert response.status_code == 200, response.text
    return dict(response.get_json())


def a_form(**fields: Any) -> dict[str, Any]:
    items = [{"image": "Anna Müller.jpg", "prompt": "She smiles"}]
    return {"name": "Summer Campaign 2026", "model": MODEL, "params": {"style": "film"}, "items": items, **fields}


def read_rows(client: FlaskClient, data: bytes, file: str = "rows.csv", **query: Any) -> dict[str, Any]:
    response = client.post("/new/rows", query_string={"file": file, "model": MODEL, **query}, data=data)
    assert response.status_code == 200, response.text
    return dict(response.get_json())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_table_in_any_encoding_is_read_as_submit_reads_it(client: FlaskClient, encoding: str) -> None:
    found = read_rows(client, TABLE.encode(encoding), ignore="Notes")
    assert [(column["header"], column["meaning"]) for column in found["columns"]] == [
        ("ID", "id"), ("Image URL", "image"), ("Prompt", "prompt"), ("resolution", "parameter resolution"),
        ("Notes", "ignored"), ("", "nothing: it is empty"),
    ]  # fmt: skip
    assert found["items"] == [
        {"id": "a", "image": "https://example.com/ä.jpg", "prompt": "Sie lächelt", "params": {"resolution": "1080p"}}
    ]
    assert bool(found["notes"]) == (encoding == "cp1252")


def test_private_notes_in_a_table_are_an_error_that_can_be_ignored(client: FlaskClient) -> None:
    found = read_rows(client, TABLE.encode())
    notes = next(column for column in found["columns"] if column["header"] == "Notes")
    assert notes["is_wrong"]
    assert notes["can_be_ignored"]
    assert "no parameter 'Notes'" in notes["meaning"]
    assert "--ignore" not in notes["meaning"]
    assert found["items"] == []
    assert [error["line"] for error in found["errors"]] == [1]


def test_the_rows_need_a_sign_in_and_are_bounded(client: FlaskClient) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    for method, path in (
        ("POST", "/new/rows?file=rows.csv"), ("POST", "/new/validate"), ("POST", "/new/form"), ("GET", "/new/models"),
        ("GET", "/new/model"), ("GET", "/new/image"), ("GET", "/batches/b/form"),
    ):  # fmt: skip
        assert client.open(path, method=method).status_code == 401, path
    response = client.post("/new/rows?file=rows.csv", data=b"x" * (8 * 2**20 + 1), headers=BEARER)
    assert response.status_code == 413
    assert client.post("/new/rows?file=rows.exe", data=b"", headers=BEARER).status_code == 400
    for name in ("._rows.csv", "~$rows.csv", "Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX/rows.csv"):
        response = client.post("/new/rows", query_string={"file": name}, data=b"prompt\nx\n", headers=BEARER)
        assert response.status_code == 400, name


def test_a_session_without_its_csrf_token_reads_no_rows(client: FlaskClient) -> None:
    del client.environ_base["HTTP_AUTHORIZATION"]
    client.get("/login")
    with client.session_transaction() as session:
        csrf = session["csrf"]
    client.post("/login", data={"token": TOKEN, "csrf": csrf})
    assert client.get("/new").status_code == 200
    assert client.post("/new/rows?file=rows.csv", data=b"prompt\nx\n").status_code == 403
    with client.session_transaction() as session:
        csrf = session["csrf"]
    assert client.post("/new/rows?file=rows.csv", data=b"prompt\nx\n", headers={CSRF_HEADER: csrf}).status_code == 200


def test_the_manifest_of_a_form_has_a_valid_name_and_waits_for_its_images(client: FlaskClient) -> None:
    result = validate(client, form=a_form())
    assert result["name"] == "summer-campaign-2026"
    assert (result["missing"], result["manifest"]) == (["Anna Müller.jpg"], None)
    assert '"image": "Anna Müller.jpg"' in result["text"]


def test_the_manifest_that_is_submitted_has_the_addresses_of_the_images(
    client: FlaskClient, storage: Storage, bucket: str
) -> None:
    uri = client.post("/api/v1/inputs", data=JPEG).get_json()["uri"]
    result = validate(client, form=a_form(budget="0.10"), images={"anna müller.JPG": uri})
    assert result["errors"] == []
    assert uri in result["manifest"]
    assert "$0.13" in result["summary"]
    assert "the batch stops at $0.10" in result["summary"]
    assert result["question"].startswith("Start 1 run?")
    response = client.post("/api/v1/batches", data=result["manifest"].encode(), headers={"Idempotency-Key": "b-1"})
    assert response.status_code == 201, response.text
    copy = client.get("/batches/b-1/form").get_json()
    assert (copy["name"], copy["model"], copy["budget"]) == ("summer-campaign-2026", MODEL, "0.10")
    assert copy["params"] == {"style": "film"}
    assert [(item["id"], item["prompt"]) for item in copy["items"]] == [("anna-mueller", "She smiles")]
    assert validate(client, form=copy)["manifest"]
    image = client.get(f"/new/image?uri={quote(copy['items'][0]['image'])}")
    assert image.status_code == 302
    assert "New batch from this one" in client.get("/batches/b-1", headers={"Accept": "text/html"}).text


def test_a_batch_of_unknown_price_needs_a_confirmation(client: FlaskClient) -> None:
    text = f"version: 1\nname: b\nmodel: {UNDESCRIBED}\nitems: [{{prompt: x}}]\n"
    assert validate(client, text=text)["question"].startswith("Start 1 run?")


def test_errors_of_a_form_name_the_item_that_they_are_of(client: FlaskClient) -> None:
    items = [{"image": "https://example.com/1.jpg", "prompt": "x"}, {"image": "ftp://example.com/2.jpg", "prompt": "y"}]
    result = validate(client, form=a_form(items=items, takes=2))
    assert {error["item"] for error in result["errors"]} == {1}
    assert result["manifest"] is None
    assert '"ftp://example.com/2.jpg"' in result["text"]


def test_the_names_of_files_in_a_written_manifest_keep_its_lines(client: FlaskClient) -> None:
    text = "# mine\nversion: 1\nname: b\nitems:\n- {image: faces/3.jpg, promt: x}\n"
    result = validate(client, text=text, images={"3.jpg": "s3://elsewhere/3.jpg"})
    assert {error["line"] for error in result["errors"]} == {5}
    result = validate(client, text=text.replace("promt", "prompt"), images={"3.jpg": "s3://elsewhere/3.jpg"})
    assert "PIPELINE_BUCKETS" in result["errors"][0]["message"]
    response = client.post("/new/form", data=text.replace("promt", "prompt").encode())
    assert response.get_json()["items"][0]["image"] == "faces/3.jpg"


def test_what_is_no_form_is_refused_in_words(client: FlaskClient) -> None:
    for body in (b"{", b'{"form": {"takes": 1000000}}', b'{"other": 1}', b'{"form": {"items": [{"image": 1}]}}'):
        response = client.post("/new/validate", data=body, content_type="application/json")
        assert response.status_code == 422


def test_images_elsewhere_are_not_shown(client: FlaskClient, bucket: str) -> None:
    for uri in ("s3://elsewhere/1.jpg", f"{bucket}secret.txt", f"{bucket}page.html", "https://example.com/1.jpg", ""):
        assert client.get("/new/image", query_string={"uri": uri}).status_code == 404


def test_models_are_searched_and_their_parameters_become_fields(client: FlaskClient) -> None:
    found = client.get("/new/models?find=VIDEO hailuo").get_json()
    assert [model["name"] for model in found["models"]] == ["minimax/image-to-video-hailuo-01-subject"]
    form = client.get(f"/new/model?name={MODEL}").get_json()
    fields = {field["name"]: field for field in form["fields"]}
    assert set(fields) == {"style", "resolution", "duration", "strength", "seed", "negativePrompt"}
    assert (fields["style"]["is_required"], fields["style"]["options"]) == (True, ["film", "cartoon"])
    assert (fields["strength"]["min"], fields["strength"]["max"], fields["strength"]["step"]) == ("0", "1", "0.1")
    assert form["needs_prompt"]
    unknown = client.get(f"/new/model?name={UNDESCRIBED}").get_json()
    assert unknown["fields"] is None
    assert "describes no parameters" in unknown["reason"]
    assert client.get("/new/model?name=acme/missing").get_json()["fields"] is None


def test_without_a_key_for_the_vendor_the_model_is_a_text_field(redis_url: str) -> None:
    settings = Settings(redis_url=redis_url, api_token=SecretStr(TOKEN), wiro_api_url="http://127.0.0.1:1")
    client = create_app(settings).test_client()
    assert client.get("/new/models?find=x", headers=BEARER).get_json()["models"] == []
    assert client.get(f"/new/model?name={MODEL}", headers=BEARER).get_json()["fields"] is None


def test_an_image_above_25_mb_is_refused_in_those_words(client: FlaskClient) -> None:
    response = client.post("/api/v1/inputs", data=JPEG + bytes(25 * 2**20))
    assert response.status_code == 413
    assert "at most 25 MB" in response.get_json()["detail"]


def a_heic(width: int, height: int) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    image = pytest.importorskip("PIL.Image").new("RGB", (width, height), (200, 10, 10))
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=50)
    return file.getvalue()


def test_a_heic_image_is_stored_as_jpeg(client: FlaskClient, storage: Storage) -> None:
    stored = client.post("/api/v1/inputs", data=a_heic(64, 48)).get_json()
    assert stored["content_type"] == "image/jpeg"
    data = storage.get(stored["uri"])
    assert data is not None
    assert len(data) == stored["size"]
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (64, 48))


def test_a_heic_image_that_cannot_be_converted_is_refused_in_words(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = a_heic(64, 48)
    response = client.post("/api/v1/inputs", data=data[: len(data) // 2])
    assert (response.status_code, "HEIC" in response.get_json()["detail"]) == (415, True)
    monkeypatch.setattr(heic_images, "MAX_PIXELS", 64 * 48 - 1)
    response = client.post("/api/v1/inputs", data=data)
    assert (response.status_code, "pixels" in response.get_json()["detail"]) == (415, True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    response = client.post("/api/v1/inputs", data=data)
    assert (response.status_code, "is a HEIC image: convert it" in response.get_json()["detail"]) == (415, True)
