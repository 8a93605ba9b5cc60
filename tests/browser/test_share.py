"""The gallery by a share link in a browser that is not signed in, and the archive of outputs."""

from __future__ import annotations

import re
import zipfile

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser_app import BrowserApp, PageErrors, plays

from browser.test_accessibility import violations

END_MS = 180_000


@pytest.fixture(scope="module")
def ended(up: BrowserApp) -> str:
    """Submit a batch of two items that succeed."""
    return up.submit("shown", ["She smiles", "She waves"])


def open_ended(page: Page, batch_id: str) -> None:
    page.goto(f"/batches/{batch_id}")
    expect(page.locator("#batch-status")).to_have_text("succeeded", timeout=END_MS)


def test_a_share_link_plays_in_a_fresh_browser_until_it_is_revoked(
    browser: Browser, up: BrowserApp, page: Page, seen: PageErrors, ended: str, axe: str
) -> None:
    open_ended(page, ended)
    page.get_by_text("Share the gallery").click()
    page.locator("#share select[name=review]").select_option("all items")
    page.get_by_role("button", name="Create a link").click()
    link = page.locator(".share-links input[readonly]")
    address = link.input_value()
    assert address.startswith("http")

    fresh = browser.new_context(viewport={"width": 390, "height": 800}, bypass_csp=True)
    fresh.on("page", seen.watch)
    guest = fresh.new_page()
    guest.goto(address)
    expect(guest.locator("[data-item]")).to_have_count(2)
    video = guest.get_by_label("Output of take-1")
    video.focus()
    guest.keyboard.press("Enter")
    plays(video)
    assert guest.locator("img").first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    assert guest.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(guest, axe) == []
    with guest.expect_download() as download:
        guest.get_by_role("group", name="take-1").get_by_role("link", name="Save").click()
    assert b"ftyp" in download.value.path().read_bytes()[:16]
    guest.goto(f"{up.url}/batches/{ended}")
    expect(guest.get_by_label("Access token")).to_be_visible()

    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".share-links")).to_have_count(0)
    seen.errors.clear()
    response = guest.goto(address)
    assert response
    assert response.status == 404
    expect(guest.get_by_text("This link has expired")).to_be_visible()
    fresh.close()
    # The browser reports the status 404 as an error.
    seen.errors.clear()


def test_all_outputs_are_downloaded_as_an_archive_that_opens(page: Page, ended: str) -> None:
    open_ended(page, ended)
    page.get_by_text("Download", exact=True).first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="All outputs (ZIP)").click()
    assert download.value.suggested_filename == f"{ended}.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{ended}/take-1.mp4", f"{ended}/take-2.mp4"]
        assert all(b"ftyp" in archive.read(name)[:16] for name in archive.namelist())
    expect(page.get_by_role("link", name="Approved outputs (ZIP)")).to_have_count(0)


def test_the_gallery_page_leads_back_to_the_batch(page: Page, ended: str) -> None:
    open_ended(page, ended)
    page.get_by_role("link", name="Gallery", exact=True).click()
    expect(page).to_have_url(re.compile(f"/batches/{ended}/gallery$"))
    expect(page.locator("[data-item]")).to_have_count(2)
    page.get_by_role("link", name=ended, exact=True).click()
    expect(page.locator("#batch-status")).to_be_visible()
