"""A real `up`, a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, sync_playwright
from support.browser_app import Seen, Stage, sign_in
from support.processes import ROOT

AXE = ROOT / ".cache/node_modules/axe-core/axe.min.js"
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("up"))
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("The browser tests need Debian's chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield running
        running.close()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="session")
def cookies(browser: Browser, up: Stage) -> StorageState:
    """Those of somebody who has signed in."""
    context = browser.new_context(base_url=up.url)
    sign_in(context.new_page())
    found = context.storage_state()
    context.close()
    return found


@pytest.fixture
def context(browser: Browser, up: Stage, seen: Seen, cookies: StorageState) -> Iterator[BrowserContext]:
    """A browser that is signed in. At the end nothing may have gone wrong in its pages."""
    opened = browser.new_context(
        base_url=up.url, viewport={"width": 1280, "height": 900}, accept_downloads=True, storage_state=cookies
    )
    opened.set_default_timeout(20_000)
    opened.on("page", seen.watch)
    opened.new_page()
    yield opened
    opened.close()
    assert seen.errors == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.pages[0]


@pytest.fixture(scope="session")
def axe() -> str:
    if not AXE.exists():
        pytest.fail("The browser tests need axe-core: make .cache/axe-core")
    return AXE.read_text(encoding="utf-8")
