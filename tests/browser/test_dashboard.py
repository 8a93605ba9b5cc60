"""The dashboard in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, StorageState, expect
from support.browser_app import SAMPLES, BrowserApp, PageErrors, drop, plays, sign_in

END_MS = 180_000
HOSTILE = '<script>alert(1)</script> "it\'s" & <img src=x onerror=alert(2)> 🎬 مرحبا'


def status(page: Page) -> Locator:
    return page.locator("#batch-status")


def card(page: Page, item_id: str) -> Locator:
    return page.locator(f"[data-item='{item_id}']")


@pytest.fixture(scope="module")
def ended(up: BrowserApp) -> str:
    """Submit a batch of which two items succeed and one fails."""
    return up.submit("ended", ["She smiles", "She waves", "An empty room #fail"])


def open_batch(page: Page, batch_id: str, *, until: str) -> None:
    """Open the page of a batch and wait, without a reload, for its state."""
    page.goto(f"/batches/{batch_id}")
    expect(status(page)).to_have_text(until, timeout=END_MS)


def test_a_wrong_token_is_refused_and_the_right_one_leads_to_the_requested_page(
    browser: Browser, up: BrowserApp
) -> None:
    context = browser.new_context(base_url=up.url)
    page = context.new_page()
    page.goto("/new")
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not a token")
    page.get_by_label("Access token").fill(up.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="New batch")).to_be_visible()
    cookie = next(cookie for cookie in context.cookies() if cookie["name"] == "dailies")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] in ("Lax", "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page.get_by_label("Access token")).to_be_visible()
    context.close()


def test_dropped_images_become_videos_that_play_in_the_page(page: Page, up: BrowserApp) -> None:
    page.goto("/new")
    drop(page, SAMPLES / "astronaut.jpg", SAMPLES / "portrait.jpg", SAMPLES / "portrait.jpg")
    expect(page.locator("#image-list li")).to_have_count(3)
    page.get_by_label("Name of the batch").fill("dropped")
    page.get_by_label("Prompt for astronaut.jpg").fill("The astronaut waves")
    expect(page.locator("#estimate")).to_contain_text("2 images have no prompt yet")
    page.get_by_label("Prompt for images without their own prompt").fill("She turns and smiles")
    expect(page.locator("#estimate")).to_contain_text("3 items")
    expect(page.locator("#estimate")).to_contain_text("$0.27")
    page.get_by_role("button", name="Start the batch").click()
    expect(page).to_have_url(re.compile("/batches/dropped-"))
    page.evaluate("window.neverReloaded = true")
    expect(status(page)).to_have_text("succeeded", timeout=END_MS)
    expect(card(page, "portrait-2")).to_be_visible()
    video = page.get_by_label("Output of astronaut")
    video.hover()
    plays(video)
    expect(page.locator("#batch-cost")).to_have_text("$0.27")
    assert page.evaluate("window.neverReloaded")
    # The batch's folder is complete without the service: it has the dropped images.
    batch_id = page.url.rpartition("/")[2]
    images = [item["image"] for item in up.request("GET", f"/api/v1/batches/{batch_id}/items")["items"]]
    assert all(f"/{batch_id}/inputs/" in image for image in images)


def test_a_video_plays_by_keyboard(page: Page, ended: str) -> None:
    open_batch(page, ended, until="finished, 1 failed")
    video = card(page, "take-1").locator("video")
    video.focus()
    page.keyboard.press("Enter")
    plays(video)


def test_reviews_and_notes_are_saved_and_other_tabs_update(context: BrowserContext, page: Page, ended: str) -> None:
    open_batch(page, ended, until="finished, 1 failed")
    other = context.new_page()
    open_batch(other, ended, until="finished, 1 failed")
    card(page, "take-1").get_by_role("button", name="Approve").click()
    expect(card(page, "take-1").locator(".chip.approved")).to_be_visible()
    card(page, "take-2").get_by_role("button", name="Reject").click()
    note = card(page, "take-2").get_by_label("Note")
    note.fill(HOSTILE)
    note.press("Enter")
    expect(card(page, "take-2").get_by_label("Note")).to_have_value(HOSTILE)
    expect(card(other, "take-1").locator(".chip.approved")).to_be_visible()
    expect(card(other, "take-2").get_by_label("Note")).to_have_value(HOSTILE)
    card(other, "take-1").get_by_role("button", name="Approve").click()
    expect(card(page, "take-1").locator(".chip.approved")).to_have_count(0)


def test_a_failed_item_shows_its_error_and_is_retried(page: Page, ended: str) -> None:
    open_batch(page, ended, until="finished, 1 failed")
    failed = card(page, "take-3")
    expect(failed.locator(".error")).to_contain_text("face could not be found")
    failed.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status").filter(has_text="The item is retried")).to_be_visible()
    expect(failed.locator(".facts")).to_contain_text("2 attempts", timeout=END_MS)
    expect(status(page)).to_have_text("finished, 1 failed", timeout=END_MS)


def test_results_are_downloaded(page: Page, ended: str) -> None:
    open_batch(page, ended, until="finished, 1 failed")
    page.locator("summary", has_text="Download").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="results.json", exact=True).click()
    document = json.loads(download.value.path().read_text())
    assert (document["id"], document["total"]) == (ended, 3)
    with page.expect_download() as download:
        card(page, "take-1").get_by_role("link", name="Save", exact=True).click()
    assert download.value.suggested_filename == f"{ended}-take-1-0.mp4"
    assert b"ftyp" in download.value.path().read_bytes()[:16]


def test_items_are_filtered_by_state_and_text(page: Page, ended: str) -> None:
    open_batch(page, ended, until="finished, 1 failed")
    page.get_by_role("link", name=re.compile("^failed")).click()
    expect(page.locator("[data-item]")).to_have_count(1)
    page.get_by_label("Find").fill("nothing like it")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No item matches")).to_be_visible()


def test_everything_is_paused_and_a_batch_is_cancelled(page: Page, up: BrowserApp) -> None:
    page.goto("/")
    page.get_by_role("button", name="Pause everything").click()
    expect(page.get_by_text("Nothing is submitted.")).to_be_visible()
    batch_id = up.submit("cancelled", ["one", "two", "three"])
    open_batch(page, batch_id, until="running")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(status(page)).to_have_text("paused")
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(status(page)).to_have_text("running")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(status(page)).to_have_text("cancelled", timeout=END_MS)
    expect(page.get_by_text("Cancelled by hand.").first).to_be_visible()
    page.goto("/")
    page.get_by_role("button", name="Resume everything").click()
    expect(page.get_by_role("button", name="Pause everything")).to_be_visible()


def test_errors_of_a_manifest_are_shown_at_their_lines(page: Page, tmp_path: Path) -> None:
    manifest = tmp_path / "wrong.yaml"
    manifest.write_text("version: 1\nname: Wrong Name\nitems:\n  - {image: https://example.com/1.jpg, promt: typo}\n")
    page.goto("/new")
    drop(page, manifest)
    first = page.locator("#errors li button").first
    expect(first).to_contain_text("Line 2")
    expect(page.locator("#line-numbers .has-error")).to_have_text(["2", "4"])
    expect(page.get_by_role("button", name="Start the batch")).to_be_disabled()
    first.click()
    chosen = "(text) => text.value.slice(text.selectionStart, text.selectionEnd)"
    assert page.locator("#text").evaluate(chosen) == "name: Wrong Name"


def test_text_of_prompts_is_escaped_in_the_page(page: Page, up: BrowserApp) -> None:
    batch_id = up.submit("hostile", [HOSTILE])
    open_batch(page, batch_id, until="succeeded")
    expect(card(page, "take-1").locator(".prompt")).to_have_text(HOSTILE)
    assert page.locator("#item-grid script, #item-grid img[src=x]").count() == 0


def test_the_timeline_updates_and_a_paused_account_is_shown(page: Page, up: BrowserApp) -> None:
    batch_id = up.submit("timeline", ["She smiles", "A shadow #fail"])
    open_batch(page, batch_id, until="finished, 1 failed")
    timeline = page.locator(".timeline")
    for event in ("started", "succeeded", "failed"):
        expect(timeline.locator(f".legend.{event}")).to_be_visible(timeout=END_MS)
    expect(timeline.locator("rect.succeeded").first).to_be_visible()
    up.request("POST", "/api/v1/account/pause")
    card(page, "take-2").get_by_role("button", name="Retry").click()
    notice = page.get_by_role("region", name="The account is paused")
    expect(notice).to_be_visible(timeout=END_MS)
    notice.get_by_role("button", name="Resume the account").click()
    expect(notice).to_have_count(0)
    expect(status(page)).to_have_text("finished, 1 failed", timeout=END_MS)


def test_a_missing_image_is_an_error_in_its_frame(page: Page, up: BrowserApp, seen: PageErrors) -> None:
    items = [{"id": "gone", "image": "s3://dailies/batches/inputs/gone.jpg", "prompt": "She smiles"}]
    manifest = {"version": 1, "name": "gone", "limits": {"attempts": 1}, "items": items}
    batch_id = up.request("POST", "/api/v1/batches", json.dumps(manifest).encode())["id"]
    page.goto(f"/batches/{batch_id}")
    expect(page.locator("[data-error='The image cannot be loaded.']")).to_be_visible()
    assert all("/items/gone/image" in error for error in seen.errors)
    seen.errors.clear()


def test_without_events_the_page_polls(browser: Browser, up: BrowserApp, cookies: StorageState) -> None:
    context = browser.new_context(base_url=up.url, storage_state=cookies)
    context.route("**/events", lambda route: route.fulfill(status=503))
    page = context.new_page()
    open_batch(page, up.submit("asked", ["She smiles"]), until="succeeded")
    context.close()


def test_a_page_recovers_when_the_service_starts_again(browser: Browser, up: BrowserApp) -> None:
    batch_id = up.submit("restarted", ["She smiles"] * 3)
    context = browser.new_context(base_url=up.url)
    page = context.new_page()
    sign_in(page, up.token)
    open_batch(page, batch_id, until="succeeded")
    page.evaluate("window.neverReloaded = true")
    up.stop()
    up.start()
    # A change from outside the browser: the page of an ended batch finds it when it is used again.
    up.request("POST", f"/api/v1/batches/{batch_id}/items/take-1/review", b'{"mark": "approved"}', "application/json")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(card(page, "take-1").locator(".chip.approved")).to_be_visible(timeout=END_MS)
    assert page.evaluate("window.neverReloaded")
    context.close()
