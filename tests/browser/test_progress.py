"""What the pages show about a batch: its progress, its failures and what retries cost, in the viewer's time."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect
from support.browser_app import BrowserApp
from support.ledger_fixtures import MODEL, a_batch, running

from pipeline.ledger.keys import run_time_key
from pipeline.ledger.ledger import Ledger

END_MS = 180_000
NEVER_S = 3600
USUAL_MS = 30_000


@pytest.fixture(scope="module")
def failed(up: BrowserApp) -> str:
    """Submit a batch of which one item succeeds and two fail for one cause."""
    return up.submit("causes", ["She smiles", "A shadow #fail", "An empty room #fail"])


def test_the_pages_show_that_a_sandbox_is_connected(page: Page) -> None:
    for path in ("/", "/new", "/docs"):
        page.goto(path)
        expect(page.get_by_text("SANDBOX", exact=True)).to_be_visible()


def test_failures_of_one_cause_are_retried_together_after_a_question_with_the_price(page: Page, failed: str) -> None:
    page.goto(f"/batches/{failed}")
    expect(page.locator("#batch-status")).to_have_text("finished, 2 failed", timeout=END_MS)
    failures = page.get_by_role("region", name="Failures")
    expect(failures.locator("li")).to_have_count(1)
    expect(failures.locator("li")).to_contain_text("2 ×")
    with page.expect_event("dialog") as dialog:
        failures.get_by_role("button", name=re.compile(r"^Retry 2, up to \$0\.\d+$")).click()
    assert re.match(r"Start 2 runs for up to \$0\.\d+, \$0\.\d+ each\?", dialog.value.message)
    expect(page.get_by_role("status").filter(has_text="Items to retry: 2.")).to_be_visible()
    expect(page.locator("[data-item='take-2'] .facts")).to_contain_text("2 attempts", timeout=END_MS)


def test_the_name_of_every_button_is_the_text_that_it_shows(page: Page, failed: str) -> None:
    for path in ("/", "/new", f"/batches/{failed}", f"/batches/{failed}/items/take-2"):
        page.goto(path)
        for button in page.locator("button:visible, a.button:visible, summary:visible").all():
            assert button.get_attribute("aria-label") is None
            assert button.inner_text().strip()


def test_times_are_in_the_zone_of_the_viewer_with_utc_on_hover(
    browser: Browser, up: BrowserApp, cookies: StorageState, failed: str
) -> None:
    context = browser.new_context(base_url=up.url, storage_state=cookies, timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.goto(f"/batches/{failed}")
    time = page.locator(".time-axis time").first
    expect(time).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d GMT\+9$"))
    expect(time).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d UTC$"))
    shown, utc = time.inner_text().split(), (time.get_attribute("title") or "").split()
    assert (int(shown[1][:2]) - int(utc[1][:2])) % 24 == 9
    context.close()


def test_no_time_is_promised_while_nothing_is_submitted(page: Page, up: BrowserApp) -> None:
    up.request("POST", "/api/v1/account/pause")
    batch_id = up.submit("waiting", ["She smiles"])
    page.goto(f"/batches/{batch_id}")
    expect(page.locator("#batch-status")).to_have_text("running", timeout=END_MS)
    expect(page.locator("[data-left-s]")).to_have_count(0)
    up.request("POST", f"/api/v1/batches/{batch_id}/cancel")
    up.request("POST", "/api/v1/account/resume")


def test_items_at_work_are_pale_and_the_time_left_counts_down(page: Page, up: BrowserApp, ledger: Ledger) -> None:
    ledger.redis.hset(run_time_key(MODEL), mapping={"mean": USUAL_MS, "runs": 1})
    # Runs that do not end within the hour.
    a_batch(ledger, "pale", items=4)
    running(ledger, poll_after_s=NEVER_S)
    page.goto("/batches/pale")
    pale = page.locator(".bar rect.pale:not(.pending)").first
    expect(pale).to_be_attached()
    assert float(pale.evaluate("(part) => getComputedStyle(part).fillOpacity")) < 0.5
    left = page.locator("[data-left-s]")
    expect(left).to_have_text(re.compile("^about |longer than usual$"))
    before = left.inner_text()
    expect(left).not_to_have_text(before)
    up.request("POST", "/api/v1/batches/pale/cancel")
