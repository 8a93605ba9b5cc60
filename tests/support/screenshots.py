"""Makes the README's pictures: a demo, looked at. `make pictures`."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from pipeline.batches.service import Service
from pipeline.domain.model import Review
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.local import demo
from pipeline.local.stack import running
from support.processes import ROOT, until

PICTURES = ROOT / "docs/pictures"
SIZE: ViewportSize = {"width": 1200, "height": 860}
_COLOURS = 256
"""Few enough for a small file, and nobody sees it."""


def main() -> None:
    """Make all pictures anew."""
    chromium = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        state = Path(folder)
        with (
            running(state, port=None, workers=2, environ=demo.environment(os.environ)) as stack,
            demo.polled(stack),
        ):
            os.environ.update(stack.environment)
            service = Service.connect(stack.settings)
            batch_id = demo.submit(stack, service)
            until(lambda: service.ledger.batches.get(batch_id).status in BATCH_TERMINAL, "the demo to end")
            gallery = demo.download_results(service, service.ledger.batches.get(batch_id), state / "home")
            page.goto(gallery.as_uri())
            keep(page, "gallery")
            first, second = [row.id for row in service.ledger.items.stream(batch_id) if row.outputs][:2]
            service.reviews.review(batch_id, first, Review("approved"))
            service.reviews.review(
                batch_id, second, Review("rejected", "Slower, please: she should arrive at the end.")
            )
            address = next(where for what, where in stack.places if what == "Web").partition(" ")[0].rstrip("/")
            until(lambda: page.request.get(f"{address}/readyz").ok, "the pages")
            page.goto(f"{address}/batches/{batch_id}")
            keep(page, "batch")
            page.goto(address)
            expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
            keep(page, "dashboard")
        browser.close()


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page as it is seen, once its videos show something."""
    shown = "() => [...document.querySelectorAll('video')].slice(0, 4).every((video) => video.readyState >= 2)"
    until(lambda: page.evaluate(shown), "the videos")
    page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(_COLOURS, kmeans=2)
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
