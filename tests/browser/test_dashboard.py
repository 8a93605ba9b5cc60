"""The dashboard as a person uses it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, StorageState, expect
from support.browser_app import PICTURES, Stage, plays, sign_in

END_MS = 40_000
HOSTILE = '<script>alert(1)</script> "it\'s" & <img src=x onerror=alert(2)> 🎬 مرحبا'


def status(page: Page) -> Locator:
    return page.locator("[data-live=status]")


def take(page: Page, item_id: str) -> Locator:
    return page.locator(f"[data-item='{item_id}']")


def drop(page: Page, *files: Path) -> None:
    """Drop files on the page, as from a folder."""
    given = [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files]
    page.evaluate(
        """(given) => {
            const transfer = new DataTransfer();
            for (const [name, text] of given) {
                const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
                const type = name.endsWith(".jpg") ? "image/jpeg" : "";
                transfer.items.add(new File([bytes], name, { type }));
            }
            document.getElementById("drop").dispatchEvent(
                new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        given,
    )


@pytest.fixture(scope="module")
def ended(up: Stage) -> str:
    """A batch that has ended: two takes, and one that failed."""
    return up.submit("ended", ["She smiles", "She waves", "Nobody is here #fail"])


def opened(page: Page, batch_id: str, *, until: str) -> None:
    """Open the page of a batch and wait, without reloading, for its state."""
    page.goto(f"/batches/{batch_id}")
    expect(status(page)).to_have_text(until, timeout=END_MS)


def test_a_wrong_token_is_refused_and_the_right_one_leads_where_one_wanted_to_go(browser: Browser, up: Stage) -> None:
    context = browser.new_context(base_url=up.url)
    page = context.new_page()
    page.goto("/new")
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not a token")
    page.get_by_label("Access token").fill("a-token-of-the-tests")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="New batch")).to_be_visible()
    cookie = next(cookie for cookie in context.cookies() if cookie["name"] == "dailies")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] in ("Lax", "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page.get_by_label("Access token")).to_be_visible()
    context.close()


def test_dropped_pictures_become_videos_that_play_while_one_watches(page: Page, up: Stage) -> None:
    page.goto("/new")
    drop(page, PICTURES / "astronaut.jpg", PICTURES / "portrait.jpg", PICTURES / "portrait.jpg")
    expect(page.locator("#chosen li")).to_have_count(3)
    page.get_by_label("Name of the batch").fill("dropped")
    page.get_by_label("Prompt for astronaut.jpg").fill("The astronaut waves")
    expect(page.locator("#estimate")).to_contain_text("2 pictures have no prompt yet")
    page.get_by_label("Prompt for every picture").fill("She turns and smiles")
    expect(page.locator("#estimate")).to_contain_text("3 items")
    expect(page.locator("#estimate")).to_contain_text("$0.27")
    page.get_by_role("button", name="Start the batch").click()
    expect(page).to_have_url(re.compile("/batches/dropped-"))
    page.evaluate("window.neverReloaded = true")
    expect(status(page)).to_have_text("succeeded", timeout=END_MS)
    expect(take(page, "portrait-2")).to_be_visible()
    video = page.get_by_label("The take of astronaut")
    video.hover()
    plays(video)
    expect(page.locator("[data-live=cost]")).to_have_text("$0.27")
    assert page.evaluate("window.neverReloaded")
    # What came out is whole without the service: the pictures that were dropped are in the batch's folder.
    batch_id = page.url.rpartition("/")[2]
    images = [item["image"] for item in up.ask("GET", f"/api/v1/batches/{batch_id}/items")["items"]]
    assert all(f"/{batch_id}/inputs/" in image for image in images)


def test_a_video_plays_by_keyboard(page: Page, ended: str) -> None:
    opened(page, ended, until="partial")
    video = take(page, "take-1").locator("video")
    video.focus()
    page.keyboard.press("Enter")
    plays(video)


def test_verdicts_and_notes_are_kept_and_other_tabs_stay_in_step(
    context: BrowserContext, page: Page, ended: str
) -> None:
    opened(page, ended, until="partial")
    other = context.new_page()
    opened(other, ended, until="partial")
    take(page, "take-1").get_by_role("button", name="Approve").click()
    expect(take(page, "take-1").locator(".chip.approved")).to_be_visible()
    take(page, "take-2").get_by_role("button", name="Reject").click()
    note = take(page, "take-2").get_by_label("Note")
    note.fill(HOSTILE)
    note.press("Enter")
    expect(take(page, "take-2").get_by_label("Note")).to_have_value(HOSTILE)
    expect(take(other, "take-1").locator(".chip.approved")).to_be_visible()
    expect(take(other, "take-2").get_by_label("Note")).to_have_value(HOSTILE)
    take(other, "take-1").get_by_role("button", name="Approve").click()
    expect(take(page, "take-1").locator(".chip.approved")).to_have_count(0)


def test_another_take_with_another_prompt_comes_beside_the_earlier_one(page: Page, up: Stage) -> None:
    batch_id = up.submit("again", ["She smiles"])
    opened(page, batch_id, until="succeeded")
    take(page, "take-1").get_by_role("button", name="Again…").click()
    prompt = take(page, "take-1").get_by_label("Prompt of another take")
    expect(prompt).to_be_focused()
    expect(prompt).to_have_value("She smiles")
    prompt.fill("She laughs")
    take(page, "take-1").get_by_role("button", name="Make another take").click()
    new = take(page, "take-1-take2")
    expect(new.locator(".prompt")).to_have_text("She laughs")
    expect(new.locator("video")).to_have_count(2, timeout=END_MS)
    expect(new.locator(".frame", has_text="earlier take")).to_have_count(1)
    expect(status(page)).to_have_text("succeeded", timeout=END_MS)
    expect(take(page, "take-1").locator(".prompt")).to_have_text("She smiles")


def test_a_failed_item_says_why_and_goes_again(page: Page, ended: str) -> None:
    opened(page, ended, until="partial")
    failed = take(page, "take-3")
    expect(failed.locator(".error")).to_contain_text("face could not be found")
    failed.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status").filter(has_text="It goes again")).to_be_visible()
    expect(failed.locator(".facts")).to_contain_text("2 attempts", timeout=END_MS)
    expect(status(page)).to_have_text("partial", timeout=END_MS)


def test_results_are_downloaded(page: Page, ended: str) -> None:
    opened(page, ended, until="partial")
    page.get_by_text("Download results").click()
    with page.expect_download() as found:
        page.get_by_role("link", name="results.json", exact=True).click()
    document = json.loads(found.value.path().read_text())
    assert (document["id"], document["total"]) == (ended, 3)
    with page.expect_download() as found:
        take(page, "take-1").get_by_role("link", name="Save").click()
    assert found.value.suggested_filename == f"{ended}-take-1-0.mp4"
    assert b"ftyp" in found.value.path().read_bytes()[:16]


def test_items_are_found_by_state_and_words(page: Page, ended: str) -> None:
    opened(page, ended, until="partial")
    page.get_by_role("link", name=re.compile("^failed")).click()
    expect(page.locator("[data-item]")).to_have_count(1)
    page.get_by_label("Find").fill("nothing like it")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No item is like that")).to_be_visible()


def test_everything_is_paused_and_a_batch_is_cancelled(page: Page, up: Stage) -> None:
    page.goto("/")
    page.get_by_role("button", name="Pause everything").click()
    expect(page.get_by_text("Nothing is submitted.")).to_be_visible()
    batch_id = up.submit("cancelled", ["one", "two", "three"])
    opened(page, batch_id, until="running")
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


def test_mistakes_of_a_manifest_are_shown_at_their_lines(page: Page, tmp_path: Path) -> None:
    manifest = tmp_path / "wrong.yaml"
    manifest.write_text("version: 1\nname: Wrong Name\nitems:\n  - {image: https://example.com/1.jpg, promt: typo}\n")
    page.goto("/new")
    drop(page, manifest)
    first = page.locator("#mistakes li button").first
    expect(first).to_contain_text("Line 2")
    expect(page.locator("#lines .wrong")).to_have_text(["2", "4"])
    expect(page.get_by_role("button", name="Start the batch")).to_be_disabled()
    first.click()
    chosen = "(text) => text.value.slice(text.selectionStart, text.selectionEnd)"
    assert page.locator("#text").evaluate(chosen) == "name: Wrong Name"


def test_text_of_prompts_comes_out_as_text(page: Page, up: Stage) -> None:
    batch_id = up.submit("hostile", [HOSTILE])
    opened(page, batch_id, until="succeeded")
    expect(take(page, "take-1").locator(".prompt")).to_have_text(HOSTILE)
    assert page.locator("#sheet script, #sheet img[src=x]").count() == 0


def test_takes_are_reviewed_by_keys_alone(page: Page, up: Stage) -> None:
    batch_id = up.submit("keys", ["She smiles", "She waves"])
    opened(page, batch_id, until="succeeded")
    first, second = (take(page, name).locator("video") for name in ("take-1", "take-2"))
    first.focus()
    page.keyboard.press("Enter")
    plays(first)
    page.keyboard.press("a")
    expect(take(page, "take-1").locator(".chip.approved")).to_be_visible()
    expect(first).to_be_focused()
    assert not first.evaluate("(video) => video.paused")
    page.keyboard.press("ArrowRight")
    expect(second).to_be_focused()
    page.keyboard.press("r")
    expect(take(page, "take-2").locator(".chip.rejected")).to_be_visible()
    page.keyboard.press("n")
    expect(take(page, "take-2").get_by_label("Prompt of another take")).to_be_focused()
    page.keyboard.type(" again")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")
    expect(first).to_be_focused()
    page.keyboard.press("a")
    expect(take(page, "take-1").locator(".chip.approved")).to_have_count(0)
    second.focus()
    page.keyboard.press("r")
    # What was judged leaves those that are to be; whoever judged it goes on with the next.
    page.get_by_role("link", name="to review 2").click()
    first.focus()
    page.keyboard.press("r")
    expect(take(page, "take-1")).to_have_count(0, timeout=END_MS)
    expect(second).to_be_focused()
    expect(page.get_by_role("link", name="rejected 1")).to_be_visible()


def test_the_timeline_goes_on_and_an_account_that_takes_no_runs_is_told(page: Page, up: Stage) -> None:
    batch_id = up.submit("timeline", ["She smiles", "Nobody #fail"])
    opened(page, batch_id, until="partial")
    timeline = page.locator(".life")
    for key in ("started", "succeeded", "failed"):
        expect(timeline.locator(f".key.{key}")).to_be_visible(timeout=END_MS)
    expect(timeline.locator("rect.succeeded").first).to_be_visible()
    up.ask("POST", "/api/v1/account/pause")
    take(page, "take-2").get_by_role("button", name="Retry").click()
    delivery = page.get_by_role("region", name="The account is paused")
    expect(delivery).to_be_visible(timeout=END_MS)
    delivery.get_by_role("button", name="Resume the account").click()
    expect(delivery).to_have_count(0)
    expect(status(page)).to_have_text("partial", timeout=END_MS)


def test_a_picture_that_is_gone_is_told_in_its_frame(page: Page, up: Stage) -> None:
    items = [{"id": "gone", "image": "s3://dailies/batches/inputs/gone.jpg", "prompt": "She smiles"}]
    manifest = {"version": 1, "name": "gone", "limits": {"attempts": 1}, "items": items}
    batch_id = up.ask("POST", "/api/v1/batches", json.dumps(manifest).encode())["id"]
    page.goto(f"/batches/{batch_id}")
    expect(page.locator("[data-trouble='The picture cannot be shown.']")).to_be_visible()


def test_where_events_are_not_to_be_had_the_page_asks(browser: Browser, up: Stage, cookies: StorageState) -> None:
    context = browser.new_context(base_url=up.url, storage_state=cookies)
    context.route("**/events", lambda route: route.fulfill(status=503))
    page = context.new_page()
    opened(page, up.submit("asked", ["She smiles"]), until="succeeded")
    context.close()


def test_a_page_recovers_when_the_service_starts_again(browser: Browser, up: Stage) -> None:
    batch_id = up.submit("restarted", ["She smiles"] * 3)
    context = browser.new_context(base_url=up.url)
    page = context.new_page()
    sign_in(page)
    opened(page, batch_id, until="succeeded")
    page.evaluate("window.neverReloaded = true")
    up.stop()
    up.start()
    # As another person would; the page hears of it.
    up.ask("POST", f"/api/v1/batches/{batch_id}/items/take-1/review", b'{"mark": "approved"}', "application/json")
    expect(take(page, "take-1").locator(".chip.approved")).to_be_visible(timeout=END_MS)
    assert page.evaluate("window.neverReloaded")
    context.close()
