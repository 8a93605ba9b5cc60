"""A running `up` and a real browser, driven by Playwright."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect, sync_playwright
from support.browser import NoBrowser, launch
from support.browser_app import BrowserApp, PageErrors
from support.processes import QUICK

from pipeline.ledger.ledger import Ledger
from pipeline.local import state_file

MAX_WAIT_MS = 60_000
AXE_SHA256 = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"
expect.set_options(timeout=MAX_WAIT_MS)


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserApp]:
    folder = tmp_path_factory.mktemp("up")
    schedules = folder / "schedules.yaml"
    schedules.write_text("schedules: []\n")
    app = BrowserApp(folder, {**QUICK, "PIPELINE_SCHEDULES": str(schedules)})
    try:
        app.start()
        yield app
    finally:
        app.stop()


@pytest.fixture(scope="session")
def ledger(up: BrowserApp) -> Ledger:
    """The ledger of the service that runs."""
    return Ledger.connect(state_file.environment(up.state)["REDIS_URL"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            running = launch(playwright)
        except NoBrowser as error:
            pytest.fail(str(error), pytrace=False)
        yield running
        running.close()


@pytest.fixture
def seen() -> PageErrors:
    return PageErrors()


@pytest.fixture(scope="session")
def cookies(browser: Browser, up: BrowserApp) -> StorageState:
    """The cookies of a signed-in session."""
    context = browser.new_context(base_url=up.url)
    context.new_page().goto(up.sign_in_address())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(browser: Browser, up: BrowserApp, seen: PageErrors, cookies: StorageState) -> Iterator[BrowserContext]:
    """A signed-in browser context. The test fails if its pages report an error."""
    opened = browser.new_context(
        base_url=up.url, viewport={"width": 1280, "height": 900}, accept_downloads=True, storage_state=cookies
    )
    opened.set_default_timeout(MAX_WAIT_MS)
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
    """The source of axe-core 4.12.1. The pages of the tests run it, so it must be the one that was reviewed."""
    source = files("axe_playwright_python").joinpath("axe.min.js").read_bytes()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256
    return source.decode()
