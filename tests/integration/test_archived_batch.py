"""What commands, API and pages show of an archived batch, whose items are only on S3. Real Valkey and S3."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from support.access import TOKEN
from support.api_client import api_client, api_settings, body
from support.ended_batch import VIDEO, an_ended_batch, write_results

from pipeline.batches.retention import Retention
from pipeline.batches.service import Service
from pipeline.cli.main import main
from pipeline.domain.share_tokens import ShareSigner
from pipeline.ledger import queries
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage

BATCH = "/api/v1/batches/b"
ITEMS = ["good", "retried", "charged", "lost", "held", "good-take2"]


@pytest.fixture
def service(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Service:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("PIPELINE_OUTPUT", bucket)
    monkeypatch.setenv("WIRO_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PIPELINE_DASHBOARD_URL", "http://127.0.0.1:1")
    return Service.connect(api_settings(redis_url, s3_server, bucket), storage=storage)


@pytest.fixture
def folder(service: Service) -> str:
    """The folder of the archived batch `b`, which had a share link."""
    output = an_ended_batch(service)
    service.ledger.share_links.create("b", lifetime=timedelta(days=1), approved_only=False, who="anna")
    Retention(service.ledger, service.storage, keep_days=1e-9).archive("b")
    assert service.ledger.batches.get("b").archived
    return output


@pytest.fixture
def client(service: Service, folder: str) -> FlaskClient:
    return api_client(service.settings)


def dailies(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, args)
    assert result.exit_code == code, result.output
    return result


@pytest.mark.usefixtures("folder")
def test_commands_show_it_as_any_other_batch() -> None:
    status = json.loads(dailies("status", "b", "--json").stdout)
    assert (status["status"], status["total"], status["cost_usd"]) == ("partial", 6, "0.41")
    assert status["archived"]
    assert "are read from S3" in " ".join(dailies("status", "b").stdout.split())
    assert [row["id"] for row in json.loads(dailies("list", "--json").stdout)] == ["b"]
    assert json.loads(dailies("results", "b").stdout)["id"] == "b"
    assert "partial" in dailies("watch", "b").stdout or "finished" in dailies("watch", "b").stdout
    assert "archived" in dailies("logs", "b", "good", code=1).stderr
    assert "ended already" in dailies("cancel", "b").stdout


@pytest.mark.usefixtures("folder")
def test_items_come_from_s3() -> None:
    rows = json.loads(dailies("items", "b", "--json").stdout)
    assert [row["id"] for row in rows] == ITEMS
    rows = json.loads(dailies("items", "b", "--json", "--status", "failed,unknown").stdout)
    assert [(row["id"], row["status"]) for row in rows] == [("charged", "failed"), ("held", "unknown")]


def test_pull_works_from_s3(folder: str, tmp_path: Path) -> None:
    dailies("pull", "b", str(tmp_path / "all"))
    assert (tmp_path / "all/items/good/0.mp4").read_bytes() == VIDEO
    assert (tmp_path / "all/results.jsonl").is_file()
    dailies("pull", "b", str(tmp_path / "approved"), "--approved")
    assert [path.parent.name for path in tmp_path.glob("approved/items/*/0.mp4")] == ["good"]


@pytest.mark.usefixtures("folder")
def test_forget_drops_it_from_the_lists(bucket: str) -> None:
    forgotten = dailies("forget", "b")
    assert f"dailies recover {bucket}b/" in forgotten.stdout
    dailies("status", "b", code=4)
    dailies("forget", "b", code=4)
    assert json.loads(dailies("list", "--json").stdout) == []
    dailies("recover", f"{bucket}b/")
    assert len(json.loads(dailies("items", "b", "--json").stdout)) == 6


@pytest.mark.usefixtures("folder")
def test_a_retry_brings_it_back(service: Service) -> None:
    assert "Retrying 1 item of b" in dailies("retry", "b").stdout
    assert service.ledger.batches.get("b").status == "running"
    assert "has not ended" in dailies("forget", "b", code=1).stderr


def test_the_api_pages_through_its_items(client: FlaskClient) -> None:
    assert body(client.get(BATCH))["archived"]
    assert body(client.get("/api/v1/batches"))["batches"][0]["id"] == "b"
    found, cursor = [], ""
    for _ in range(10):
        page = body(client.get(f"{BATCH}/items?limit=2{cursor}"))
        found += [row["id"] for row in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == ITEMS
    for query, expected in (
        ("status=failed", ["charged"]),
        ("review=approved", ["good"]),
        ("text=WAVES", ["retried"]),
        ("review=none&status=succeeded", ["retried", "lost", "good-take2"]),
    ):
        assert [row["id"] for row in body(client.get(f"{BATCH}/items?{query}"))["items"]] == expected
    assert body(client.get(f"{BATCH}/items/charged"))["error"] == "Face not found."
    assert client.get(f"{BATCH}/items/nope").status_code == 404
    assert body(client.get(f"{BATCH}/items?cursor=s7"))["items"][0]["id"] == "retried", "in the middle of a line"
    assert body(client.get(f"{BATCH}/items?cursor=s999999999"))["items"] == []


def test_a_cursor_of_before_the_batch_was_archived_is_refused(client: FlaskClient, service: Service) -> None:
    cursor = body(client.get(f"{BATCH}/items?limit=2"))["next"]
    response = client.get(f"{BATCH}/items?cursor=2")
    assert (response.status_code, "Begin again without `cursor`" in body(response)["detail"]) == (400, True)
    service.recovery.restore("b")
    assert client.get(f"{BATCH}/items?cursor={cursor}").status_code == 400
    assert client.get(f"{BATCH}/items?cursor=2").status_code == 200


def test_a_page_of_items_reads_a_bounded_part(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.batches.batch_items.MAX_SCANNED_ITEMS", 3)
    page = body(client.get(f"{BATCH}/items?text=laughs"))
    assert (page["items"], page["next"] is None) == ([], False)
    page = body(client.get(f"{BATCH}/items?text=laughs&cursor={page['next']}"))
    assert [row["id"] for row in page["items"]] == ["good-take2"]
    assert queries.MAX_SCANNED_ITEMS > 3


def test_damaged_results_are_an_error_in_words(client: FlaskClient, service: Service, folder: str) -> None:
    service.storage.put(f"{folder}results.jsonl", b'{"id":"good"\n', "text/plain")
    for path in (f"{BATCH}/items", f"{BATCH}/items/good"):
        response = client.get(path)
        assert response.status_code == 500
        assert "results.jsonl, byte 0" in body(response)["detail"]
    assert "results.jsonl, byte 0" in dailies("items", "b", code=1).stderr


def test_the_api_restores_it_before_a_change(client: FlaskClient, service: Service) -> None:
    reviewed = client.post(f"{BATCH}/items/retried/review", json={"mark": "rejected"})
    assert body(reviewed)["review"] == {"mark": "rejected", "note": ""}
    assert "archived" not in body(client.get(BATCH))
    write_results(service)
    (failures,) = body(client.get(BATCH))["failures"]
    Retention(service.ledger, service.storage, keep_days=1e-9).archive("b")
    assert body(client.get(BATCH))["failures"] == [{"cause": None, "count": 1}]
    assert body(client.post(f"{BATCH}/retry", json={"cause": failures["cause"]})) == {"reopened": 1}


def test_events_and_archives_of_outputs(client: FlaskClient) -> None:
    events = client.get(f"{BATCH}/events").text
    assert "event: progress" in events
    assert "event: end" in events
    archive = client.get(f"{BATCH}/outputs.zip")
    names = zipfile.ZipFile(io.BytesIO(archive.data)).namelist()
    assert names == ["b/good.mp4", "b/retried.mp4", "b/lost.mp4", "b/good-take2.mp4"]
    archive = client.get(f"{BATCH}/outputs.zip?item=lost&item=good")
    assert len(zipfile.ZipFile(io.BytesIO(archive.data)).namelist()) == 2


# Pages


def test_its_page_shows_the_summary_and_the_gallery(client: FlaskClient) -> None:
    page = client.get("/batches/b").text
    assert 'id="archived"' in page
    assert "$0.41" in page
    assert page.count('<li class="item-card"') == 6
    assert "Face not found." in page
    only_failed = client.get("/batches/b?state=failed").text
    assert only_failed.count('<li class="item-card"') == 1
    assert client.get("/batches/b?review=approved").text.count('<li class="item-card"') == 1
    assert client.get("/batches/b/gallery?review=approved").headers["Location"] == "/batches/b?review=approved"
    assert '<a href="/batches/b">' in client.get("/").text


@pytest.mark.parametrize(
    ("item_id", "status"), [("good", "succeeded"), ("charged", "failed"), ("good-take2", "succeeded")]
)
def test_one_item_has_a_page_and_a_document(client: FlaskClient, item_id: str, status: str) -> None:
    page = client.get(f"/batches/b/items/{item_id}").text
    assert page.count('<li class="item-card"') == 1
    assert f'data-item="{item_id}"' in page
    assert ("Face not found." in page) is (status == "failed")
    for source in (part.partition('"')[0] for part in page.split('<video src="')[1:]):
        assert client.get(source).status_code == 302
    document = body(client.get(f"{BATCH}/items/{item_id}"))
    assert (document["id"], document["status"], len(document["outputs"])) == (item_id, status, status == "succeeded")


def test_an_item_that_it_lacks_has_no_page(client: FlaskClient) -> None:
    for path in ("/batches/b/items/nope", f"{BATCH}/items/nope", "/batches/b/items/nope/0/preview"):
        assert client.get(path).status_code == 404


def test_the_preview_of_an_output_is_the_output_itself(client: FlaskClient) -> None:
    assert client.get("/batches/b/items/good/0/preview").location == "/batches/b/items/good/outputs/0"
    assert client.get("/batches/b/items/good/1/preview").status_code == 404


def test_its_pages_are_linked(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.web.dashboard.archived_page.PAGE_SIZE", 4)
    first = client.get("/batches/b").text
    assert first.count('<li class="item-card"') == 4
    address = first.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    second = client.get(address).text
    assert second.count('<li class="item-card"') == 2
    assert "good-take2" in second


def test_its_media_are_found_without_a_search(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    page = client.get("/batches/b").text
    sources = [part.partition('"')[0] for part in page.split('<video src="')[1:]]
    assert len(sources) == 4
    for source in sources:
        assert "?at=" in source
        assert client.get(source).status_code == 302
    assert "attachment" in client.get(f"{sources[1]}&save").headers["Location"]
    assert client.get("/batches/b/items/lost/outputs/0?at=3").status_code == 302, "a wrong position costs a search"
    assert client.get("/batches/b/items/lost/outputs/0").status_code == 302
    assert client.get("/batches/b/items/nope/outputs/0?at=0").status_code == 404
    assert client.get("/batches/b/files/results.json").status_code == 302


def test_what_needs_its_items_in_redis_is_refused_in_words(client: FlaskClient, service: Service) -> None:
    token = client.get("/batches/b").text.partition('name="csrf" value="')[2].partition('"')[0]
    created = client.post("/batches/b/shares", data={"csrf": token, "days": "7"})
    assert created.status_code == 409
    assert "is archived" in body(created)["detail"]
    assert client.get("/batches/b/live").status_code == 409
    restored = client.post("/batches/b/restore", data={"csrf": token})
    assert (restored.status_code, restored.headers["Location"]) == (303, "/batches/b")
    assert service.ledger.batches.get("b").archived is None
    assert 'id="archived"' not in client.get("/batches/b").text


def test_a_share_link_shows_that_the_batch_is_archived(client: FlaskClient, service: Service) -> None:
    signer = ShareSigner(service.settings.secret.get_secret_value())
    response = client.get(f"/shared/{signer.token('b', 'a' * 32)}", headers={"Authorization": ""})
    assert response.status_code == 404
    assert "is archived" in response.text
    assert "is archived" not in client.get("/shared/forged").text
    assert TOKEN not in response.text
