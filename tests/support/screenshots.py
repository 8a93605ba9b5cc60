"""Take the screenshots of the README from a demo: `make screenshots`."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from pipeline.batches.service import Service
from pipeline.domain.model import Review
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.local import demo
from pipeline.local.batch_folder import BatchFolder
from pipeline.local.stack import running
from support.browser import launch
from support.processes import ROOT, until

SCREENSHOTS = ROOT / "docs/pictures"
SIZE: ViewportSize = {"width": 1200, "height": 860}
_COLOURS = 256
"""Few colours make a small file without a visible difference."""


def main() -> None:
    """Take all screenshots."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport=SIZE)
        state = Path(folder)
        with (
            running(state, port=None, workers=2, environ=demo.environment(os.environ)) as stack,
            demo.polled(stack),
        ):
            os.environ.update(stack.environment)
            service = Service.connect(stack.settings)
            batch_id = demo.submit(stack, service)
            until(lambda: service.ledger.batches.get(batch_id).status in BATCH_TERMINAL, "the end of the demo")
            batch = service.ledger.batches.get(batch_id)
            first, second = [row.id for row in service.ledger.items.stream(batch_id) if row.outputs][:2]
            service.reviews.review(batch_id, first, Review("approved"))
            service.reviews.review(
                batch_id, second, Review("rejected", "Slower, please: she should arrive at the end.")
            )
            until(stack.is_ready, "the pages")
            page.goto(stack.address)
            home = page.url
            page.goto(f"{home}batches/{batch_id}")
            save(page, "batch")
            page.goto(home)
            expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
            save(page, "dashboard")
            local = BatchFolder(service.storage, service.items, batch, state / "home")
            local.pull(local.files())
            page.goto(local.gallery.as_uri())
            save(page, "gallery")
        browser.close()


def save(page: Page, name: str) -> None:
    """Save a screenshot of the page after the posters of its videos have loaded."""
    shown = "() => [...document.querySelectorAll('video')].every((video) => video.poster)"
    until(lambda: page.evaluate(shown), "the posters of the videos")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(_COLOURS, kmeans=2)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    image.save(SCREENSHOTS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
