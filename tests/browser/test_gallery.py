"""The gallery works from a folder, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser_app import SAMPLES, PageErrors, plays

from pipeline.domain.model import BatchRow, ItemRow, Output
from pipeline.gallery import gallery_page
from pipeline.sandbox.video import render

FOLDER = "s3://bucket/la-street/"
HOSTILE = '<script>alert(1)</script> "it\'s" & مرحبا'


def rows(count: int) -> Iterator[ItemRow]:
    for number in range(1, count + 1):
        if number % 3 == 0:
            yield ItemRow(f"i{number}", "failed", f"{FOLDER}inputs/1.jpg", HOSTILE, error="No person in the image.")
            continue
        output = Output(f"{FOLDER}items/50% #1/0.mp4", "video/mp4", 1, "ab")
        yield ItemRow(f"i{number}", "succeeded", f"{FOLDER}inputs/1.jpg", f"prompt {number}", outputs=(output,))


def write_gallery(folder: Path, count: int) -> str:
    """Write a gallery to a folder and return its URL."""
    counts = {"succeeded": count - count // 3, "failed": count // 3}
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    batch = BatchRow("b", "la-street", "m/n", "partial", counts, count, Decimal("0.18"), now, now, FOLDER, "cli")
    (folder / "index.html").write_text("".join(gallery_page.page(batch, rows(count))), encoding="utf-8")
    (folder / "inputs").mkdir()
    (folder / "inputs/1.jpg").write_bytes((SAMPLES / "portrait.jpg").read_bytes())
    (folder / "items/50% #1").mkdir(parents=True)
    (folder / "items/50% #1/0.mp4").write_bytes(render((SAMPLES / "portrait.jpg").read_bytes(), "smile"))
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(browser: Browser, seen: PageErrors) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.on("page", seen.watch)
    yield context.new_page()
    context.close()
    assert seen.errors == []


def test_videos_play_from_the_folder_and_text_is_escaped(page: Page, tmp_path: Path) -> None:
    page.goto(write_gallery(tmp_path, 3))
    video = page.get_by_label("Output of i1")
    video.hover()
    plays(video)
    assert page.locator("img").first.evaluate("(image) => image.naturalWidth") > 0
    expect(page.locator("[data-state=failed].item-card .prompt")).to_have_text(HOSTILE)


def test_a_large_batch_is_paged_and_searched(page: Page, tmp_path: Path) -> None:
    count = 2 * gallery_page.PAGE_SIZE + 50
    page.goto(write_gallery(tmp_path, count))
    shown = page.locator("#shown")
    expect(shown).to_have_text(f"1–{gallery_page.PAGE_SIZE} of {count}")
    above, below = (
        page.get_by_role("navigation", name=name, exact=True) for name in ("Pages", "Pages, below the items")
    )
    above.get_by_role("button", name="Next").click()
    expect(shown).to_have_text(f"{gallery_page.PAGE_SIZE + 1}–{2 * gallery_page.PAGE_SIZE} of {count}")
    below.get_by_role("button", name="Next").click()
    expect(shown).to_have_text(f"{2 * gallery_page.PAGE_SIZE + 1}–{count} of {count}")
    expect(shown).to_be_in_viewport()
    expect(below.get_by_role("button", name="Next")).to_be_disabled()
    below.get_by_role("button", name="Back").click()
    expect(shown).to_have_text(f"{gallery_page.PAGE_SIZE + 1}–{2 * gallery_page.PAGE_SIZE} of {count}")
    page.get_by_role("button", name="failed").click()
    expect(shown).to_have_text(f"1–{count // 3} of {count // 3}")
    page.get_by_label("Find").fill(HOSTILE[:20])
    expect(page.locator("li.item-card")).to_have_count(count // 3)
    page.get_by_label("Find").fill("nothing like it")
    expect(shown).to_contain_text("No item matches")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gallery_has_no_accessibility_violations(
    browser: Browser, axe: str, tmp_path: Path, scheme: object
) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", bypass_csp=True)
    page = context.new_page()
    page.goto(write_gallery(tmp_path, 6))
    page.evaluate(axe)
    found = json.loads(page.evaluate("async () => JSON.stringify((await axe.run()).violations)"))
    assert [violation["id"] for violation in found] == []
    context.close()
