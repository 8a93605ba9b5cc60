"""The page of a new batch in a real browser."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from support.browser_app import SAMPLES, BrowserApp, drop

END_MS = 180_000
PICTURES = (SAMPLES / "astronaut.jpg", SAMPLES / "portrait.jpg")
HAS_CARET_AT_END = "(field) => field.selectionStart === field.value.length && field.selectionEnd === field.value.length"


def estimate(page: Page, text: str) -> None:
    expect(page.locator("#estimate")).to_contain_text(text)


def start(page: Page) -> None:
    page.get_by_role("button", name="Start the batch").click()


def until(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression is true. The policy of the page forbids Playwright's own way."""
    deadline = time.monotonic() + END_MS / 1000
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows as Excel exports them on a German Windows, with private notes."""
    file = tmp_path / "Sommer 2026.csv"
    text = "ID;Image;Prompt ;Notes;\r\none;fotos\\Astronaut.JPG;Er grüßt;geheim;\r\ntwo;portrait.jpg;Sie lächelt;;\r\n"
    file.write_bytes(text.encode("cp1252"))
    return file


def test_a_dropped_csv_is_mapped_matched_with_pictures_and_run(page: Page, up: BrowserApp, rows: Path) -> None:
    page.goto("/new")
    drop(page, rows, *PICTURES)
    table = page.get_by_role("region", name="Columns of the rows")
    expect(table.get_by_role("row")).to_have_count(6)
    expect(table.get_by_role("row", name=re.compile("^Image"))).to_contain_text("image")
    expect(table.get_by_role("row", name=re.compile("^Notes"))).to_contain_text("no parameter 'Notes'")
    expect(table).to_contain_text("it was read as Windows-1252")
    estimate(page, "ignore columns")
    table.get_by_label("Ignore Notes").check()
    expect(page.get_by_label("Prompt for fotos\\Astronaut.JPG")).to_have_value("Er grüßt")
    expect(page.locator("#image-list li")).to_have_count(2)
    expect(page.get_by_label("Name of the batch")).to_have_value("Sommer 2026")
    expect(page.locator("#name-help")).to_contain_text("sommer-2026")
    estimate(page, "2 items")
    start(page)
    expect(page).to_have_url(re.compile("/batches/sommer-2026-"))
    batch_id = page.url.rpartition("/")[2]
    items = up.request("GET", f"/api/v1/batches/{batch_id}/items")["items"]
    assert [(item["id"], item["prompt"], item["params"]) for item in items] == [
        ("one", "Er grüßt", {}),
        ("two", "Sie lächelt", {}),
    ]
    expect(page.locator("#batch-status")).to_have_text("succeeded", timeout=END_MS)


def test_dropped_pictures_are_matched_with_the_files_of_a_dropped_manifest(page: Page, tmp_path: Path) -> None:
    manifest = tmp_path / "batch.yaml"
    manifest.write_text(
        "# mine\nversion: 1\nname: mine\nitems:\n- {image: faces/astronaut.jpg, prompt: He waves}\n"
        "- {image: faces/portrait.jpg, prompt: She smiles}\n"
    )
    page.goto("/new")
    drop(page, manifest, PICTURES[0])
    estimate(page, "1 image missing")
    expect(page.locator("#missing")).to_have_text("Missing: faces/portrait.jpg")
    expect(page.get_by_role("button", name="Start the batch")).to_be_disabled()
    drop(page, PICTURES[1])
    estimate(page, "2 items")
    expect(page.get_by_role("textbox", name="Manifest")).to_have_value(re.compile("^# mine"))
    page.get_by_role("button", name="Images and prompts").click()
    expect(page.get_by_label("Prompt for faces/portrait.jpg")).to_have_value("She smiles")
    start(page)
    expect(page).to_have_url(re.compile("/batches/mine-"))


def test_the_manifest_shows_what_the_form_means(page: Page) -> None:
    page.goto("/new")
    page.get_by_label("Name of the batch").fill("Summer Campaign 2026")
    page.get_by_label("Model", exact=True).fill("tiers")
    expect(page.locator("#models option")).to_have_attribute("value", "acme/video-tiers")
    page.get_by_label("Model", exact=True).fill("acme/video-tiers")
    page.get_by_label("Style (required)").select_option("film")
    page.get_by_label("Duration").select_option("10")
    page.get_by_label("Budget in US dollars").fill("5")
    page.get_by_label("Takes per image").fill("2")
    drop(page, PICTURES[1])
    page.get_by_label("Prompt for portrait.jpg").fill("She smiles")
    estimate(page, "2 items of acme/video-tiers. Estimated cost: $0.52")
    page.get_by_role("button", name="Manifest").click()
    text = page.get_by_role("textbox", name="Manifest")
    expect(text).to_have_value(
        "version: 1\n"
        'name: "summer-campaign-2026"\n'
        'model: "acme/video-tiers"\n'
        'params: {"style": "film", "duration": "10"}\n'
        'limits: {"budget_usd": "5"}\n'
        "items:\n"
        '- {"id": "portrait-1", "image": "portrait.jpg", "prompt": "She smiles"}\n'
        '- {"id": "portrait-2", "image": "portrait.jpg", "prompt": "She smiles"}\n'
    )
    # What is edited by hand is in the form afterwards.
    text.fill(text.input_value().replace('"5"', '"6"').replace("2026", "2027"))
    estimate(page, "2 items")
    page.get_by_role("button", name="Images and prompts").click()
    expect(page.get_by_label("Name of the batch")).to_have_value("summer-campaign-2027")
    expect(page.get_by_label("Budget in US dollars")).to_have_value("6")
    expect(page.get_by_label("Duration")).to_have_value("10")


def test_a_draft_outlives_a_reload_and_ends_with_the_session(page: Page, up: BrowserApp, rows: Path) -> None:
    page.goto("/new")
    drop(page, PICTURES[1])
    page.get_by_label("Name of the batch").fill("kept")
    page.get_by_label("Prompt for portrait.jpg").fill("She smiles")
    estimate(page, "1 item of")
    stored = str(page.evaluate("JSON.stringify(localStorage)"))
    csrf = page.locator("meta[name=csrf]").get_attribute("content")
    assert csrf
    assert csrf not in stored
    assert up.token not in stored
    page.reload()
    expect(page.get_by_label("Name of the batch")).to_have_value("kept")
    expect(page.get_by_label("Prompt for portrait.jpg")).to_have_value("She smiles")
    expect(page.locator("#image-list img")).to_have_js_property("complete", True)
    estimate(page, "1 item of")
    page.get_by_role("button", name="Empty the form").click()
    expect(page.get_by_text("No images yet.")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0
    page.get_by_label("Name of the batch").fill("again")
    until(page, "localStorage.length === 1")
    page.evaluate("document.querySelector('.top form').dispatchEvent(new Event('submit', {cancelable: true}))")
    assert page.evaluate("localStorage.length") == 0


def test_a_new_batch_is_made_from_another_one(page: Page, up: BrowserApp) -> None:
    batch_id = up.submit("first", ["She smiles", "She waves"])
    page.goto(f"/batches/{batch_id}")
    page.get_by_role("link", name="New batch from this one").click()
    expect(page.get_by_label("Name of the batch")).to_have_value("first")
    expect(page.get_by_label("Prompt for take-2")).to_have_value("She waves")
    page.get_by_label("Prompt for take-2").fill("She laughs")
    page.get_by_role("button", name="Remove take-1").click()
    page.get_by_label("Name of the batch").fill("Second")
    estimate(page, "1 item of")
    start(page)
    expect(page).to_have_url(re.compile("/batches/second-"))
    expect(page.locator(".item-card .prompt")).to_have_text("She laughs")


def test_the_cost_is_shown_before_the_start_and_needs_a_confirmation(page: Page) -> None:
    page.goto("/new")
    page.evaluate("window.confirm = (text) => { window.asked = text; return false; }")
    drop(page, PICTURES[1])
    prompt = page.get_by_label("Prompt for portrait.jpg")
    prompt.fill("She smiles")
    estimate(page, "Estimated cost: $0.09")
    prompt.press("Control+Enter")
    until(page, "window.asked")
    assert "Start 1 run? Estimated cost: $0.09" in page.evaluate("window.asked")
    expect(page).to_have_url(re.compile("/new$"))


def test_files_that_cannot_be_taken_are_named_with_the_reason(page: Page, tmp_path: Path) -> None:
    large, sheet = tmp_path / "large.jpg", tmp_path / "rows.xlsx"
    large.write_bytes(b"\xff\xd8\xff" + bytes(25 * 2**20))
    sheet.write_bytes(b"PK")
    page.goto("/new")
    page.set_input_files("#files", [large])
    expect(page.locator("#image-list .error")).to_have_text("The file has 25.0 MB. An image can have at most 25 MB.")
    estimate(page, "Remove the images whose upload failed")
    page.set_input_files("#files", [sheet])
    expect(page.locator("#message")).to_contain_text("Export it as CSV")


def test_dropped_files_that_systems_make_are_passed_over(page: Page, tmp_path: Path) -> None:
    lock, cache = tmp_path / "~$portrait.jpg", tmp_path / "Thumbs.db"
    for file in (lock, cache):
        file.write_bytes(PICTURES[1].read_bytes())
    page.goto("/new")
    drop(page, lock, cache, PICTURES[1])
    expect(page.locator("#message")).to_contain_text("~$portrait.jpg, Thumbs.db")
    estimate(page, "One image has no prompt yet.")


def test_a_new_prompt_is_typed_at_its_end_and_sent_by_ctrl_enter(context: BrowserContext, up: BrowserApp) -> None:
    page = context.pages[0]
    page.goto(f"/batches/{up.submit('typed', ['She smiles'])}")
    card = page.locator("[data-item='take-1']")
    card.get_by_role("button", name="New take…").click()
    prompt = card.get_by_label("Prompt of the new take")
    expect(prompt).to_be_focused()
    assert prompt.evaluate(HAS_CARET_AT_END)
    page.keyboard.type(" and waves")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-item='take-1-take2'] .prompt")).to_have_text("She smiles and waves", timeout=END_MS)
