"""The gallery page and its share links: what each viewer gets, and for how long."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from flask.testing import FlaskClient
from support.access import BEARER, TOKEN
from support.finished_batch import videos, with_outputs
from support.ledger_fixtures import a_batch

from pipeline.domain.model import Review
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.share_links import MAX_LIFETIME, MAX_LINKS
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web import create_app
from pipeline.web.dashboard import gallery

VIDEOS = videos("woman-1", "woman-2", "man")
SECRET = "a-secret-of-the-tests"
PUBLIC_URL = "http://dailies.example"


@pytest.fixture
def values(redis_url: str, storage: Storage, bucket: str, tmp_path: Path) -> dict[str, Any]:
    return {
        "redis_url": redis_url,
        "api_token": TOKEN,
        "secret": SECRET,
        "s3_endpoint": storage._endpoint,
        "output": bucket,
        "public_url": PUBLIC_URL,
        "schedules": tmp_path / "schedules.yaml",
        "triggers": tmp_path / "triggers.yaml",
    }


@pytest.fixture
def user(values: dict[str, Any], ledger: Ledger, storage: Storage, bucket: str) -> FlaskClient:
    """A user with the token, and the batch `b` with three outputs."""
    with_outputs(ledger, storage, bucket, VIDEOS)
    return signed_in(values)


def signed_in(values: dict[str, Any]) -> FlaskClient:
    client = create_app(Settings.model_validate(values)).test_client()
    client.environ_base.update(HTTP_AUTHORIZATION=BEARER["Authorization"], HTTP_ACCEPT="text/html")
    return client


@pytest.fixture
def guest(values: dict[str, Any]) -> FlaskClient:
    """A browser without a token."""
    client = create_app(Settings.model_validate(values)).test_client()
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    return client


def share(user: FlaskClient, batch_id: str = "b", **form: str) -> str:
    """Create a link and return its path, as the page of the batch shows it."""
    known = set(shared_paths(user, batch_id))
    response = user.post(f"/batches/{batch_id}/shares", data={"days": "7", **form})
    assert (response.status_code, response.location) == (303, f"/batches/{batch_id}?share#share")
    (path,) = set(shared_paths(user, batch_id)) - known
    return path


def shared_paths(user: FlaskClient, batch_id: str = "b") -> list[str]:
    text = user.get(f"/batches/{batch_id}?share").text
    return re.findall(rf'<input readonly value="{PUBLIC_URL}(/shared/[^"]+)"', text)


def items_on(text: str) -> list[str]:
    return re.findall(r'data-item="([^"]+)"', text)


def test_the_gallery_of_a_batch_needs_a_sign_in_and_shows_its_items(user: FlaskClient, guest: FlaskClient) -> None:
    text = user.get("/batches/b/gallery").text
    assert items_on(text) == list(VIDEOS)
    assert 'src="/batches/b/items/man/outputs/0"' in text
    assert 'href="/batches/b/items/man/outputs/0?save"' in text
    response = guest.get("/batches/b/gallery")
    assert (response.status_code, response.location) == (303, "/login?next=/batches/b/gallery")


def test_the_gallery_can_show_the_approved_items_only(user: FlaskClient, ledger: Ledger) -> None:
    assert "No item is approved yet" in user.get("/batches/b/gallery?review=approved").text
    ledger.items.review("b", "man", Review("approved"))
    assert items_on(user.get("/batches/b/gallery?review=approved").text) == ["man"]


def test_a_long_gallery_has_a_pager_above_and_below(
    user: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PAGE_SIZE", 2)
    first = user.get("/batches/b/gallery").text
    assert items_on(first) == ["woman-1", "woman-2"]
    next_link = '<a class="button" href="/batches/b/gallery?from=2" rel="next">'
    assert first.count(next_link) == 2
    assert first.index(next_link) < first.index("<ol") < first.index("</ol>") < first.rindex(next_link)
    second = user.get("/batches/b/gallery?from=2").text
    assert items_on(second) == ["man"]
    assert "3–3 of 3" in second
    ledger.items.review("b", "man", Review("approved"))
    assert items_on(user.get("/batches/b/gallery?review=approved").text) == ["man"]
    for wrong in ("-1", "x", "99999999999", "²"):
        assert items_on(user.get(f"/batches/b/gallery?from={wrong}").text) == ["woman-1", "woman-2"]


def test_a_share_link_shows_the_gallery_and_its_media_without_a_sign_in(user: FlaskClient, guest: FlaskClient) -> None:
    path = share(user)
    page = guest.get(path)
    assert page.status_code == 200
    assert items_on(page.text) == list(VIDEOS)
    assert "Set-Cookie" not in page.headers
    assert page.headers["X-Robots-Tag"] == "noindex"
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    media = sorted(set(re.findall(r'(?:src|href)="(/shared/[^"]+)"', page.text)))
    assert f"{path}/items/man/outputs/0" in media
    assert f"{path}/items/man/image" in media
    for address in media:
        response = guest.get(address)
        assert response.status_code == 302, address
        assert urllib3.request("GET", response.location).status == 200
    played = urllib3.request("GET", guest.get(f"{path}/items/man/outputs/0").location)
    assert played.data == VIDEOS["man"][0]


def test_a_share_link_shows_no_costs_notes_files_or_addresses_of_the_service(
    user: FlaskClient, guest: FlaskClient, ledger: Ledger, bucket: str
) -> None:
    ledger.items.review("b", "man", Review("rejected", "Too dark for the client"))
    text = guest.get(share(user)).text
    for hidden in ("$0.09", "Too dark", "rejected", "results.json", "s3://", bucket, "/batches/b", "csrf", "Sign out"):
        assert hidden not in text
    assert "Too dark" in user.get("/batches/b/gallery").text


def test_nothing_else_is_reachable_with_a_share_link(
    user: FlaskClient, guest: FlaskClient, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    with_outputs(ledger, storage, bucket, videos("other"), "b2")
    path = share(user)
    token = path.rpartition("/")[2]
    for inside in (
        "/items/other/outputs/0", "/items/man/outputs/1", "/items/nope/outputs/0", "/items/..%2f..%2fb2/outputs/0",
        "/items/man", "/items/man/outputs/0/x", "/files/results.json", "/files/manifest.yaml", "/gallery", "/live",
        "/item-grid", "/../b2", "/shares", "/items/man/review", "/outputs.zip",
    ):  # fmt: skip
        response = guest.get(f"{path}{inside}")
        assert response.status_code == 404 or response.location.startswith("/login"), inside
    for closed in ("/", "/batches/b", "/batches/b/gallery", "/batches/b/items/man/outputs/0", "/batches/b2", "/new"):
        response = guest.get(closed, headers={"Cookie": f"dailies={token}", "Referer": f"{PUBLIC_URL}{path}"})
        assert response.location.startswith("/login"), closed
    for bearer in (token, f"Bearer {token}"):
        assert guest.get("/api/v1/batches/b", headers={"Authorization": bearer}).status_code == 401
        assert guest.get("/api/v1/batches/b/outputs.zip", headers={"Authorization": bearer}).status_code == 401
    assert guest.post(path).status_code in (401, 405)
    assert guest.post(f"/batches/b/items/man/review?token={token}").status_code == 401


def test_a_link_to_the_approved_items_shows_no_other_item_nor_its_media(
    user: FlaskClient, guest: FlaskClient, ledger: Ledger
) -> None:
    path = share(user, review="approved")
    assert items_on(guest.get(path).text) == []
    ledger.items.review("b", "man", Review("approved"))
    assert items_on(guest.get(path).text) == ["man"]
    for part in ("image", "outputs/0"):
        assert guest.get(f"{path}/items/man/{part}").status_code == 302
        assert guest.get(f"{path}/items/woman-1/{part}").status_code == 404
    ledger.items.review("b", "man", None)
    assert guest.get(f"{path}/items/man/outputs/0").status_code == 404


def test_a_revoked_link_shows_nothing_and_the_others_stay(user: FlaskClient, guest: FlaskClient) -> None:
    path, other = share(user), share(user, review="approved")
    link_id = re.findall(r'action="/batches/b/shares/(\w+)/revoke"', user.get("/batches/b").text)[0]
    first = shared_paths(user)[0]
    assert user.post(f"/batches/b/shares/{link_id}/revoke").status_code == 303
    (kept,) = {path, other} - {first}
    assert shared_paths(user) == [kept]
    for address in (first, f"{first}/items/man/outputs/0", f"{first}/items/man/image"):
        response = guest.get(address)
        assert response.status_code == 404
        assert "withdrawn" in response.text
        assert "Back to the batches" not in response.text
    assert guest.get(kept).status_code == 200


def test_an_expired_link_shows_nothing_and_leaves_the_list(
    user: FlaskClient, guest: FlaskClient, ledger: Ledger
) -> None:
    path = share(user)
    key = "dailies:batch:b:shares"
    ((link_id, text),) = ledger.redis.hgetall(key).items()
    ledger.redis.hset(key, link_id, re.sub(r'"expires": \d+', '"expires": 1000', text))
    assert guest.get(path).status_code == 404
    assert shared_paths(user) == []
    assert ledger.redis.hlen(key) == 0


def test_links_are_bounded_in_number_and_in_time(user: FlaskClient, ledger: Ledger) -> None:
    for days in ("0", "91", "-1", "x", ""):
        assert user.post("/batches/b/shares", data={"days": days}).status_code == 400
    for _ in range(MAX_LINKS):
        ledger.share_links.create("b", lifetime=timedelta(days=999), approved_only=False, who="api")
    assert user.post("/batches/b/shares", data={"days": "1"}).status_code == 409
    assert 0 < ledger.redis.ttl("dailies:batch:b:shares") <= MAX_LIFETIME.total_seconds()
    assert user.post("/batches/missing/shares", data={"days": "1"}).status_code == 404


def test_a_form_of_another_site_makes_no_link(values: dict[str, Any], ledger: Ledger, guest: FlaskClient) -> None:
    a_batch(ledger)
    page = guest.get("/login").text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf
    guest.post("/login", data={"csrf": csrf[1], "token": TOKEN})
    assert guest.get("/batches/b").status_code == 200
    assert guest.post("/batches/b/shares", data={"days": "7"}).status_code == 403
    assert ledger.share_links.active("b") == []


@pytest.mark.parametrize("token", ["forged", "WyJiIiwieCJd.c2ln", "%ff", "x" * 5000])
def test_a_forged_token_is_not_found(user: FlaskClient, guest: FlaskClient, token: str) -> None:
    assert guest.get(f"/shared/{token}").status_code == 404
    assert guest.get(f"/shared/{token}/items/man/outputs/0").status_code == 404


def test_redis_alone_does_not_give_a_token(user: FlaskClient, ledger: Ledger) -> None:
    token = share(user).rpartition("/")[2]
    stored = str(ledger.redis.hgetall("dailies:batch:b:shares"))
    assert token not in stored
    assert token.rpartition(".")[2] not in stored


def test_a_token_is_not_in_the_log(
    user: FlaskClient, guest: FlaskClient, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = share(user)
    token = path.rpartition("/")[2]
    guest.get(path)
    guest.get(f"{path}/items/nope/outputs/0")
    user.get(path)

    def crash(*args: object, **names: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(gallery, "gallery_page", crash)
    assert guest.get(path).status_code == 500
    written = capfd.readouterr().err
    assert "share_link_created" in written
    assert "request_crashed" in written
    assert token not in written


def test_without_a_secret_there_are_no_links_and_the_page_shows_it(
    values: dict[str, Any], ledger: Ledger, guest: FlaskClient
) -> None:
    a_batch(ledger)
    user = signed_in({**values, "secret": ""})
    assert "Set PIPELINE_SECRET" in user.get("/batches/b").text
    assert user.post("/batches/b/shares", data={"days": "7"}).status_code == 503
    assert user.get("/shared/anything").status_code == 404
