"""The review of takes in a real browser: keys, selection, takes side by side, the lightbox."""

from __future__ import annotations

import re
from collections import Counter
from zipfile import ZipFile

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser_app import BrowserApp, plays

END_MS = 180_000


def card(page: Page, item_id: str) -> Locator:
    return page.locator(f"[data-card='{item_id}']")


def take(page: Page, item_id: str) -> Locator:
    return page.locator(f"[data-item='{item_id}']")


def approved(page: Page, item_id: str) -> Locator:
    return take(page, item_id).locator(".chip.approved")


def is_paused(video: Locator) -> bool:
    return bool(video.evaluate("(video) => video.paused"))


def ended_batch(up: BrowserApp, page: Page, name: str, items: int) -> str:
    """Submit a batch and open its page when all items have an output."""
    batch_id = up.submit(name, [f"She smiles {n}" for n in range(1, items + 1)])
    page.goto(f"/batches/{batch_id}")
    expect(page.locator("#batch-status")).to_have_text("succeeded", timeout=END_MS)
    expect(page.locator("[data-item] video")).to_have_count(items)
    return batch_id


@pytest.fixture(scope="module")
def four(up: BrowserApp) -> str:
    return up.submit("four", ["She smiles", "She waves", "She turns", "A shadow #fail"])


@pytest.fixture
def batch(page: Page, four: str, up: BrowserApp) -> str:
    """Open a batch of three outputs and a failure, without reviews."""
    page.goto(f"/batches/{four}")
    expect(page.locator("#batch-status")).to_have_text("finished, 1 failed", timeout=END_MS)
    for n in (1, 2, 3):
        path = f"/api/v1/batches/{four}/items/take-{n}/review"
        up.request("POST", path, b'{"mark": null}', "application/json")
    page.reload()
    expect(page.locator("[data-item] video")).to_have_count(3)
    return four


def test_forty_takes_are_reviewed_by_keys_alone(page: Page, up: BrowserApp) -> None:
    batch_id = ended_batch(up, page, "forty", 40)
    # Reviewed items leave this list while the review goes on.
    page.goto(f"/batches/{batch_id}?mark=none")
    expect(card(page, "take-1")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("link", name="to review 40")).to_be_visible()
    for n in range(1, 41):
        page.keyboard.press("r" if n % 4 == 0 else "a")
        if n < 40:
            expect(card(page, f"take-{n + 1}")).to_be_focused()
    expect(page.get_by_text("Every item has a review.")).to_be_visible()
    expect(page.get_by_role("link", name="approved 30")).to_be_visible()
    page.keyboard.press("u")
    expect(page.get_by_role("link", name="to review 1")).to_be_visible()
    items = up.request("GET", f"/api/v1/batches/{batch_id}/items?limit=100")["items"]
    marks = {item["id"]: item.get("review", {}).get("mark") for item in items}
    assert Counter(marks.values()) == {"approved": 30, "rejected": 9, None: 1}
    assert marks["take-40"] is None
    assert marks["take-4"] == "rejected"


def test_items_are_reviewed_by_keyboard_alone(page: Page, batch: str) -> None:
    first, second = card(page, "take-1"), card(page, "take-2")
    first_video, second_video = first.locator("video"), second.locator("video")
    # Keys work from the page: no item has the focus yet.
    page.keyboard.press("Space")
    plays(first_video)
    page.keyboard.press("Space")
    assert is_paused(first_video)
    page.keyboard.press("Space")
    page.keyboard.press("a")
    expect(second).to_be_focused()
    plays(second_video)
    assert is_paused(first_video)
    expect(approved(page, "take-1")).to_be_visible()
    # The same key again does not take the review back.
    page.keyboard.press("ArrowLeft")
    expect(first).to_be_focused()
    page.keyboard.press("a")
    expect(second).to_be_focused()
    page.keyboard.press("r")
    expect(card(page, "take-3")).to_be_focused()
    expect(second.locator(".chip.rejected")).to_be_visible()
    expect(approved(page, "take-1")).to_be_visible()
    page.keyboard.press("u")
    expect(second).to_be_focused()
    expect(second.locator(".chip.rejected")).to_have_count(0)
    page.keyboard.press("u")
    expect(first).to_be_focused()
    expect(approved(page, "take-1")).to_have_count(0)
    page.keyboard.press("n")
    prompt = first.get_by_label("Prompt of the new take")
    expect(prompt).to_be_focused()
    page.keyboard.type(" again, r and a")
    expect(prompt).to_have_value("She smiles again, r and a")
    page.keyboard.press("Escape")
    expect(first).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    expect(second).to_be_focused()


def test_arrow_keys_move_in_all_directions(page: Page, batch: str) -> None:
    for key, item in (("Right", 2), ("Left", 1), ("Right", 2), ("Right", 3), ("Up", 1), ("Down", 3)):
        page.keyboard.press(f"Arrow{key}")
        expect(card(page, f"take-{item}")).to_be_focused()
    style = card(page, "take-3").evaluate("(card) => getComputedStyle(card).outlineStyle")
    assert style == "solid"


def test_the_focus_stays_when_a_card_is_updated(page: Page, batch: str, up: BrowserApp) -> None:
    first = card(page, "take-1")
    page.keyboard.press("Space")
    plays(first.locator("video"))
    button = first.get_by_role("button", name="Reject")
    button.focus()
    button.evaluate("(button) => { button.isTheSame = true; }")
    path = f"/api/v1/batches/{batch}/items/take-1/review"
    up.request("POST", path, b'{"mark": "approved"}', "application/json")
    page.evaluate("document.dispatchEvent(new Event('changed'))")
    expect(approved(page, "take-1")).to_be_visible()
    expect(button).to_be_focused()
    # An element that is removed and inserted again can lose the focus later.
    assert button.evaluate("(button) => button.isTheSame")
    assert not is_paused(first.locator("video"))


def test_several_items_are_selected_and_reviewed_together(page: Page, batch: str) -> None:
    boxes = [page.get_by_label(f"Select take-{n}") for n in (1, 2, 3)]
    boxes[0].click()
    boxes[2].click(modifiers=["Shift"])
    bar = page.get_by_role("region", name="Selected items")
    expect(bar).to_contain_text("3 selected")
    bar.get_by_role("button", name="Approve").click()
    for n in (1, 2, 3):
        expect(approved(page, f"take-{n}")).to_be_visible()
    expect(bar).to_be_hidden()
    page.keyboard.press("u")
    for n in (1, 2, 3):
        expect(approved(page, f"take-{n}")).to_have_count(0)
    card(page, "take-1").focus()
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    expect(bar).to_contain_text("2 selected")
    page.keyboard.press("r")
    for n in (1, 2):
        expect(take(page, f"take-{n}").locator(".chip.rejected")).to_be_visible()
    page.get_by_role("button", name="Select all in view").click()
    expect(bar).to_contain_text(re.compile(r"[1-4] selected"))
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()


def test_selected_items_are_downloaded_and_retried_together(page: Page, batch: str) -> None:
    for n in (1, 2, 4):
        page.get_by_label(f"Select take-{n}").check()
    bar = page.get_by_role("region", name="Selected items")
    with page.expect_download() as download:
        bar.get_by_role("button", name="Download").click()
    names = ZipFile(download.value.path()).namelist()
    assert [name.rpartition("/")[2] for name in names] == ["take-1.mp4", "take-2.mp4"]
    questions: list[str] = []
    page.on("dialog", lambda dialog: questions.append(dialog.message))
    bar.get_by_role("button", name="Retry 1, up to $0.09", exact=True).click()
    expect(take(page, "take-4").locator(".facts")).to_contain_text("attempts", timeout=END_MS)
    expect(page.locator("#batch-status")).to_have_text("finished, 1 failed", timeout=END_MS)
    assert questions == ["Retry take-4? It costs at most $0.09."]


def test_a_note_is_kept_when_its_field_loses_the_focus(page: Page, batch: str) -> None:
    page.keyboard.press("r")
    note = take(page, "take-1").get_by_label("Note")
    note.fill("Slower, please")
    page.get_by_role("link", name="rejected 1").click()
    expect(take(page, "take-1").get_by_label("Note")).to_have_value("Slower, please")
    # A note that is being typed is not overwritten, and a new mark keeps it.
    take(page, "take-1").get_by_role("button", name="Approve").click()
    page.goto(f"/batches/{batch}?mark=approved")
    expect(take(page, "take-1").get_by_label("Note")).to_have_value("Slower, please")


def test_the_lightbox_shows_one_item_after_another(page: Page, batch: str) -> None:
    page.keyboard.press("ArrowRight")
    expect(card(page, "take-2")).to_be_focused()
    page.keyboard.press("Enter")
    box = page.get_by_role("dialog", name="take-2")
    video = box.locator("video")
    plays(video)
    assert video.evaluate("(video) => video.muted")
    assert video.bounding_box()["width"] > 800  # type: ignore[index]  # it is visible
    page.keyboard.press("Space")
    expect(box.get_by_role("button", name="Play")).to_be_visible()
    box.get_by_label("Position").fill("500")
    half = "(video) => Math.abs(video.currentTime - video.duration / 2) < 0.1"
    assert video.evaluate(half)
    for name in ("Loop", "Mute"):
        box.get_by_role("button", name=name).click()
        expect(box.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "false")
    assert not video.evaluate("(video) => video.muted")
    page.keyboard.press("a")
    expect(page.get_by_role("dialog", name="take-3")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("dialog", name="take-2")).to_contain_text("approved")
    page.keyboard.press("n")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(take(page, "take-2").get_by_label("Prompt of the new take")).to_be_focused()
    page.keyboard.press("Escape")
    expect(card(page, "take-2")).to_be_focused()


def test_all_videos_in_view_play_together(page: Page, batch: str) -> None:
    page.get_by_role("button", name="Play all in view").click()
    plays(card(page, "take-1").locator("video"))
    plays(card(page, "take-2").locator("video"))
    page.keyboard.press("v")
    assert is_paused(card(page, "take-1").locator("video"))


def test_two_takes_play_side_by_side_in_step_and_one_is_picked(page: Page, up: BrowserApp) -> None:
    batch_id = ended_batch(up, page, "again", 1)
    first, second = take(page, "take-1"), take(page, "take-1-take2")
    first.get_by_role("button", name="New take… $0.09").click()
    expect(first.get_by_label("Prompt of the new take")).to_be_focused()
    # The caret is at the end.
    page.keyboard.type(", slower")
    expect(first.get_by_role("button", name="Create the take for $0.09")).to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(second.locator(".prompt")).to_have_text("She smiles 1, slower")
    expect(second.locator("video")).to_have_count(1, timeout=END_MS)
    expect(page.locator("[data-card]")).to_have_count(1)
    expect(first).to_be_hidden()
    page.get_by_role("button", name="take 1", exact=True).click()
    expect(first.locator("video")).to_be_visible()
    page.get_by_role("button", name="Side by side").click()
    box = page.get_by_role("dialog")
    videos = box.locator("video")
    expect(videos).to_have_count(2)
    plays(videos.first)
    plays(videos.last)
    times = "(all) => all.map((video) => video.currentTime)"
    one, other = videos.evaluate_all(times)
    assert abs(one - other) < 0.5
    page.keyboard.press("Space")
    expect(box.get_by_role("button", name="Play")).to_be_visible()
    assert all(videos.evaluate_all("(all) => all.map((video) => video.paused)"))
    box.get_by_label("Position").fill("250")
    one, other = videos.evaluate_all(times)
    assert one == other > 0
    box.get_by_role("button", name="Pick take 2").click()
    page.keyboard.press("Escape")
    expect(approved(page, "take-1-take2")).to_have_count(1)
    expect(first.locator(".chip.rejected")).to_have_count(1)
    page.reload()
    expect(approved(page, "take-1-take2")).to_be_visible()
    assert up.request("GET", f"/api/v1/batches/{batch_id}")["total"] == 2
