"""Promises of every page: accessible, usable by keyboard, and protected by its Content-Security-Policy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser_app import SAMPLES, BrowserApp, PageErrors, sign_in


@pytest.fixture(scope="module")
def batch_id(up: BrowserApp) -> str:
    return up.submit("looks", ["She smiles", "A shadow #fail"])


def violations(page: Page, axe: str) -> list[dict[str, Any]]:
    """Return the violations that axe-core finds, shortened."""
    page.evaluate(axe)
    found = page.evaluate("async () => JSON.stringify((await axe.run()).violations)")
    return [
        {"rule": violation["id"], "where": [node["html"][:200] for node in violation["nodes"][:3]]}
        for violation in json.loads(found)
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_no_page_has_accessibility_violations(
    browser: Browser, up: BrowserApp, seen: PageErrors, axe: str, batch_id: str, scheme: Any, width: int
) -> None:
    size: Any = {"width": width, "height": 900}
    # Only axe-core, which the test injects, needs the policy disabled.
    context = browser.new_context(base_url=up.url, viewport=size, color_scheme=scheme, bypass_csp=True)
    context.on("page", seen.watch)
    page = context.new_page()
    page.goto("/login")
    assert violations(page, axe) == []
    sign_in(page, up.token)
    expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
    assert violations(page, axe) == []
    page.goto(f"/batches/{batch_id}")
    page.get_by_text("More about this batch").click()
    page.get_by_role("button", name="New take…").first.click()
    assert violations(page, axe) == []
    assert not too_wide(page)
    page.get_by_role("button", name="Keys").click()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.locator("#item-take-1").get_by_role("button", name="Large").click()
    expect(page.get_by_role("dialog", name="take-1")).to_be_visible()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.get_by_label("Select take-1").check()
    assert violations(page, axe) == []
    for path in (f"/batches/{batch_id}?state=cancelled", f"/batches/{batch_id}/items/take-1", "/docs"):
        page.goto(path)
        assert violations(page, axe) == []
        assert not too_wide(page)
    page.goto("/new")
    page.set_input_files("#files", [SAMPLES / "astronaut.jpg", SAMPLES / "portrait.jpg"])
    expect(page.locator("#image-list li")).to_have_count(2)
    assert violations(page, axe) == []
    page.get_by_role("button", name="Manifest").click()
    page.locator("#text").fill("- wrong")
    expect(page.locator("#errors li").first).to_be_visible()
    assert violations(page, axe) == []
    assert not too_wide(page)
    context.close()


def too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_every_page_has_a_strict_content_security_policy(page: Page, batch_id: str) -> None:
    for path in ("/", "/new", f"/batches/{batch_id}", f"/batches/{batch_id}/items/take-1", "/docs", "/batches/missing"):
        response = page.request.get(path, headers={"Accept": "text/html"})
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        text = response.text()
        assert " style=" not in text
        assert "<style" not in text
        assert " onclick" not in text


def test_every_control_is_reachable_by_keyboard_and_shows_its_focus(page: Page, batch_id: str) -> None:
    page.goto(f"/batches/{batch_id}")
    expect(page.locator("[data-item]")).to_have_count(2)
    # The list of a closed menu is not reachable.
    shown = page.locator("main :is(a, button, input, textarea, summary, video):visible")
    wanted = {f"{tag}" for tag in shown.evaluate_all("(all) => all.map((one) => one.outerHTML)")}
    reached = set()
    page.locator("main").focus()
    for _ in range(len(wanted) + 20):
        page.keyboard.press("Tab")
        html, outline = page.evaluate(
            "() => [document.activeElement.outerHTML, getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.add(html)
        if html in wanted:
            assert outline != "none", html
    missed = {html for html in wanted if "<video" not in html} - reached
    assert missed == set()
