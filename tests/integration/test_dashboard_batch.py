"""The pages of a batch and its items on the dashboard."""

from __future__ import annotations

import html
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import urllib3
from flask.testing import FlaskClient
from support.dashboard import dashboard_client, page
from support.images import PNG
from support.ledger_fixtures import COLLECTING, FAILED, RUNNING, SUCCEEDED, a_batch, dues, fail, running, succeed

from pipeline.domain.model import Review
from pipeline.ledger.ledger import Ledger
from pipeline.storage.s3 import Storage
from pipeline.web.dashboard.batch_page import PAGE_SIZE

HOSTILE = "<script>alert(1)</script>\"'& \u202e🎬 مرحبا"


@pytest.fixture
def client(redis_url: str, storage: Storage, bucket: str, tmp_path: Path) -> FlaskClient:
    return dashboard_client(redis_url, storage, bucket, tmp_path)


def item_ids(text: str) -> list[str]:
    return re.findall(r'data-item="([^"]+)"', text)


def shown_takes(text: str) -> dict[str, str]:
    """Return {first take: take that is shown} of the cards of a page."""
    return dict(re.findall(r'data-card="([^"]+)" [^>]*data-shown="([^"]+)"', text))


def load(ledger: Ledger, batch_id: str, **specs: dict[str, Any]) -> None:
    """Add items to a batch."""
    ledger.items.load(batch_id, ((name, {"image": None, "params": {}, **spec}, None) for name, spec in specs.items()))


def test_an_open_batch_shows_that_the_account_is_paused(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    ledger.account.pause("Balance is <low>.")
    for path in ("/batches/b", "/batches/b/live"):
        assert "Balance is &lt;low&gt;." in page(client, path)
    ledger.redis.hset("dailies:batch:b", "status", "succeeded")
    for path in ("/batches/b", "/batches/b/live"):
        assert "Balance" not in page(client, path)


def test_the_timeline_shows_when_runs_started_and_items_ended(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    assert "no events yet" in page(client, "/batches/b")
    running(ledger, 2)
    first, second = dues(ledger)
    ledger.runs.record_success(first, Decimal("0.09"))
    ledger.runs.end(first.run, first.lease, COLLECTING, SUCCEEDED, {})
    ledger.runs.end(second.run, second.lease, RUNNING, FAILED, {"error": "no"})
    ledger.items.cancel_pending("b", "by hand")
    text = page(client, "/batches/b/live")
    for event in ("started", "succeeded", "failed", "cancelled"):
        assert f'<span class="legend {event}">' in text
    titles = " ".join(re.findall(r"<title>[^<]+ UTC, 1 s: ([^<]+)</title>", text))
    assert "2 started" in titles
    assert "1 failed" in titles


def test_text_of_prompts_and_names_is_escaped_in_the_dashboard(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=0)
    load(ledger, "b", odd={"prompt": HOSTILE, "image": "javascript:alert(1)"})
    ledger.items.review("b", "odd", Review("rejected", HOSTILE))
    for path in ("/batches/b", "/batches/b/item-grid", "/batches/b/items/odd"):
        text = page(client, path)
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert 'href="javascript' not in text


def test_a_page_has_a_fixed_number_of_items_and_a_link_to_the_next(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=PAGE_SIZE + 2)
    first = page(client, "/batches/b")
    assert item_ids(first) == [f"i{n}" for n in range(PAGE_SIZE)]
    assert f'href="/batches/b?from={PAGE_SIZE}" rel="next"' in first
    assert item_ids(page(client, f"/batches/b?from={PAGE_SIZE}")) == [f"i{PAGE_SIZE}", f"i{PAGE_SIZE + 1}"]


@pytest.mark.parametrize("path", ["/batches/{}", "/batches/{}/live"])
def test_a_page_of_a_large_batch_needs_no_more_redis_calls_than_of_a_small_one(
    client: FlaskClient, ledger: Ledger, path: str
) -> None:
    a_batch(ledger, "small", items=100)
    a_batch(ledger, "large", items=10_000)
    calls = []
    for batch_id in ("small", "large"):
        page(client, path.format(batch_id))  # Scripts are loaded, connections made.
        ledger.redis.config_resetstat()
        page(client, path.format(batch_id))
        stats = ledger.redis.info("commandstats")
        calls.append({name: stat["calls"] for name, stat in stats.items() if name != "cmdstat_config|resetstat"})
    assert calls[0] == calls[1]


def test_items_are_found_by_state_and_by_text(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=12)
    running(ledger, 3)
    assert item_ids(page(client, "/batches/b?state=running")) == ["i0", "i1", "i2"]
    assert item_ids(page(client, "/batches/b?find=P11")) == ["i11"]
    assert "No item matches" in page(client, "/batches/b?state=failed")


@pytest.mark.parametrize("query", ["?from=-1", "?from=x", "?from=99999999999", "?state=nonsense", "?find=" + "x" * 999])
def test_an_invalid_query_of_a_page_is_ignored(client: FlaskClient, ledger: Ledger, query: str) -> None:
    a_batch(ledger)
    page(client, f"/batches/b{query}")


def test_items_are_found_by_their_review(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    assert "to review" not in page(client, "/batches/b")
    running(ledger, 2)
    for due in dues(ledger):
        succeed(ledger, due)
    ledger.items.review("b", "i1", Review("approved"))
    assert item_ids(page(client, "/batches/b?mark=none")) == ["i0"]
    text = page(client, "/batches/b?mark=approved")
    assert item_ids(text) == ["i1"]
    assert "to review <b>1</b>" in text
    assert "approved <b>1</b>" in text
    ledger.items.review("b", "i0", Review("rejected"))
    assert "Every item has a review." in page(client, "/batches/b?mark=none")
    response = client.get("/api/v1/batches/b/items?review=rejected").json
    assert response
    assert [item["id"] for item in response["items"]] == ["i0"]


def test_another_take_lies_in_the_card_of_the_first_one(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=2, price_usd=Decimal("0.09"))
    running(ledger)
    output = {"uri": "s3://tests/b/items/i0/0.mp4", "content_type": "video/mp4", "size": 1, "sha256": "ab"}
    for due in dues(ledger):
        ledger.runs.record_success(due, Decimal("0.09"))
        ledger.runs.end(due.run, due.lease, COLLECTING, SUCCEEDED, {"outputs": [output]})
    ledger.items.add("b", "i0-take2", {"image": None, "prompt": "p", "params": {}, "take_of": "i0"})
    for path in ("/batches/b", "/batches/b/items/i0-take2"):
        text = page(client, path)
        assert item_ids(text)[:2] == ["i0", "i0-take2"]
        assert shown_takes(text)["i0"] == "i0-take2"
        assert "/batches/b/items/i0/outputs/0" in text
        assert "New take… $0.09" in text
    assert list(shown_takes(page(client, "/batches/b"))) == ["i0", "i1"]
    ledger.items.review("b", "i0", Review("approved"))
    assert shown_takes(page(client, "/batches/b"))["i0"] == "i0"
    # A filter shows the take that it found.
    assert shown_takes(page(client, "/batches/b?state=pending")) == {"i0": "i0-take2"}
    assert shown_takes(page(client, "/batches/b?mark=none")) == {"i1": "i1"}


def test_a_page_full_of_items_has_no_empty_page_after_it(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=PAGE_SIZE)
    ledger.items.add("b", "i0-take2", {"image": None, "prompt": "p", "params": {}, "take_of": "i0"})
    assert 'rel="next"' not in page(client, "/batches/b")


def test_files_are_redirected_to_presigned_urls(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    uri = f"{bucket}items/i0/0.png"
    storage.put(uri, PNG, "image/png")
    a_batch(ledger, items=0)
    load(ledger, "b", i0={"prompt": "p", "image": uri})
    response = client.get("/batches/b/items/i0/image")
    assert response.status_code == 302
    assert urllib3.request("GET", response.headers["Location"]).data == PNG
    assert "Signature" not in page(client, "/batches/b")


@pytest.mark.parametrize(
    "path",
    [
        "/batches/missing",
        "/batches/b/items/missing",
        "/batches/b/items/i0/image",
        "/batches/b/items/i0/outputs/0",
        "/batches/b/files/secrets.txt",
    ],
)
def test_a_missing_resource_is_an_error_page(client: FlaskClient, ledger: Ledger, path: str) -> None:
    a_batch(ledger, items=1)
    assert "Back to the batches" in page(client, path, 404)


def test_a_failed_item_shows_its_error_and_can_be_retried(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    for due in dues(ledger):
        ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "No person <in> the image."})
    text = page(client, "/batches/b")
    assert "No person &lt;in&gt; the image." in text
    assert 'data-action="retry"' in text


def a_failed_batch(ledger: Ledger, *errors: str) -> None:
    a_batch(ledger, items=len(errors), price_usd=Decimal("0.09"))
    running(ledger)
    fail(ledger, *errors)


def test_failures_are_grouped_by_cause_each_with_a_retry_that_shows_its_price(
    client: FlaskClient, ledger: Ledger
) -> None:
    a_failed_batch(ledger, "https://a/1.jpg: <gone>", "https://a/2.jpg: <gone>", "face not found")
    text = page(client, "/batches/b")
    assert "<b>2 ×</b>" in text
    assert "&lt;gone&gt;" in text
    assert "Retry 2, up to $0.18</button>" in text
    assert "Retry 1, up to $0.09</button>" in text
    assert "Retry 3 failed, up to $0.27</button>" in text
    assert 'data-confirm="Start 2 runs for up to $0.18, $0.09 each? Their cause: …: &lt;gone&gt;"' in text
    (sent,) = re.findall(r"data-body='([^']*gone[^']*)'", text)
    response = client.post("/api/v1/batches/b/retry", data=html.unescape(sent), content_type="application/json")
    assert response.json == {"reopened": 2}
    assert [row.id for row in ledger.items.stream("b", {FAILED})] == ["i2"]


def test_every_button_that_buys_runs_shows_the_price_and_needs_a_confirmation(
    client: FlaskClient, ledger: Ledger
) -> None:
    a_failed_batch(ledger, "no")
    for path in ("/batches/b", "/batches/b/live", "/batches/b/item-grid", "/batches/b/items/i0"):
        buttons = re.findall(r"<button[^>]*>Retry[^<]*</button>", page(client, path))
        shown = [button for button in buttons if " hidden" not in button]
        assert shown
        # reviews.js requests the buttons of items.
        asks = re.compile('data-confirm=|data-action="retry"')
        assert all("up to $0.09</button>" in button and asks.search(button) for button in shown)


def test_states_read_in_words(client: FlaskClient, ledger: Ledger) -> None:
    a_failed_batch(ledger, "no", "no")
    ledger.redis.hset("dailies:batch:b", "status", "partial")
    for path in ("/", "/batches/b"):
        assert '<span class="chip partial">finished, 2 failed</span>' in re.sub(' id="[^"]*"', "", page(client, path))
    assert "Parallel runs allowed" in page(client, "/")


def test_items_have_page_numbers_and_a_last_page(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=5 * PAGE_SIZE + 1)
    text = page(client, f"/batches/b?from={PAGE_SIZE}")
    assert "Page 2 of 6" in text
    assert f'href="/batches/b?from={5 * PAGE_SIZE}">6</a>' in text
    assert 'href="/batches/b">1</a>' in text


def test_a_search_shows_how_many_items_match(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=4100)
    a_batch(ledger, "small", items=12)
    assert "3 items match." in page(client, "/batches/small?find=p1")
    assert "1 item matches." in page(client, "/batches/small?find=p11&state=pending")
    text = page(client, "/batches/b?find=P1")
    assert "1,111 items match among the first 4,000." in text
    assert 'data-next="?find=P1&amp;from=4000"' in text
    assert "0 items match." in page(client, "/batches/b/item-count?find=P1&from=4000")
    assert 'id="found" data-found="0"></p>' in page(client, "/batches/b")


def test_times_carry_their_utc_time_for_the_zone_of_the_viewer(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    created = ledger.batches.get("b").created
    text = page(client, "/batches/b")
    utc = f"{created:%Y-%m-%d %H:%M} UTC"
    assert f'<time datetime="{created.isoformat()}" title="{utc}" data-local>{utc}</time>' in text
    assert f'title="{utc}"' in page(client, "/")
    assert "local_times.js" in text
