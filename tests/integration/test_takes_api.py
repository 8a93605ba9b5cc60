"""Reviews and takes of items by the API."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from support.api_client import api_client, api_settings, body, start
from support.ledger_fixtures import dues, running, succeed

from pipeline.batches import reviews
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage


@pytest.fixture
def client(redis_url: str, s3_server: S3Env, storage: Storage, bucket: str) -> FlaskClient:
    return api_client(api_settings(redis_url, s3_server, bucket))


def test_an_item_is_reviewed_and_another_take_is_created(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    running(ledger, 1)
    [due] = dues(ledger)
    succeed(ledger, due)
    item = body(client.post(f"{at}/items/i0/review", json={"mark": "rejected", "note": "<b>blurred</b>"}))
    assert item["review"] == {"mark": "rejected", "note": "<b>blurred</b>"}
    assert "review" not in body(client.post(f"{at}/items/i0/review", json={"mark": None}))
    take = client.post(f"{at}/items/i0/again", json={"prompt": "sharper"})
    assert take.status_code == 201
    new = body(client.get(take.headers["Location"]))
    assert (new["take_of"], new["prompt"]) == ("i0", "sharper")
    assert body(client.get(at))["total"] == 4


def test_the_ids_of_takes_do_not_grow(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    item, ids = "i0", []
    for _ in range(3):
        item = body(client.post(f"{at}/items/{item}/again", json={"prompt": "sharper"}))["item"]
        ids.append(item)
    assert ids == ["i0-take2", "i0-take3", "i0-take4"]
    assert body(client.get(f"{at}/items/i0-take4"))["take_of"] == "i0-take3"


def test_an_item_whose_name_ends_like_a_take_has_takes_of_its_own(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    ledger.items.load("b", [("x-take2", {"image": None, "prompt": "p", "params": {}}, None)])
    first = body(client.post(f"{at}/items/x-take2/again", json={"prompt": "sharper"}))["item"]
    second = body(client.post(f"{at}/items/{first}/again", json={"prompt": "sharper"}))["item"]
    assert (first, second) == ("x-take2-take2", "x-take2-take3")


def test_the_id_of_a_take_is_never_too_long_for_an_id(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    long_id = "x" * 128
    ledger.items.load("b", [(long_id, {"image": None, "prompt": "p", "params": {}}, None)])
    first = body(client.post(f"{at}/items/{long_id}/again", json={"prompt": "sharper"}))["item"]
    second = body(client.post(f"{at}/items/{first}/again", json={"prompt": "sharper"}))["item"]
    assert (first, second) == ("x" * 122 + "-take2", "x" * 122 + "-take3")


def test_an_item_has_a_maximum_of_takes(client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "MAX_TAKES", 3)
    at = start(client, ledger)
    statuses = [client.post(f"{at}/items/i0/again", json={"prompt": "sharper"}).status_code for _ in range(3)]
    assert statuses == [201, 201, 409]


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[2J", "a\x7f", "\x9b1m", "\ud800", "\ufffe"])
def test_control_characters_are_refused_in_takes_and_notes(client: FlaskClient, ledger: Ledger, text: str) -> None:
    at = start(client, ledger)
    assert client.post(f"{at}/items/i0/again", json={"prompt": text}).status_code == 422
    assert client.post(f"{at}/items/i0/review", json={"mark": "approved", "note": text}).status_code == 422
    assert body(client.get(at))["total"] == 3


def test_a_take_may_have_several_lines(client: FlaskClient, ledger: Ledger) -> None:
    at = start(client, ledger)
    assert client.post(f"{at}/items/i0/again", json={"prompt": "a\r\n\tb"}).status_code == 201
