"""What pages load: previews and no files, and after that only what changes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from support.browser_app import BrowserApp, plays
from support.ledger_fixtures import a_batch_config, a_row
from support.media import a_video, noise

from pipeline.domain.model import Output
from pipeline.domain.preview_names import MAX_BYTES, image_preview, output_preview
from pipeline.ledger import keys
from pipeline.ledger.ledger import Ledger
from pipeline.local import state_file
from pipeline.previews import render
from pipeline.storage.s3 import Storage

ITEMS = 48
VIDEO_BYTES, IMAGE_BYTES = 6_000_000, 2_500_000
FIRST_SCREEN_BYTES, WHOLE_PAGE_BYTES = 3_000_000, 6_000_000
MINUTE_MS = 60_000


@dataclass
class Transfer:
    """What a page has loaded over the network, in bytes, and its requests."""

    received: int = 0
    requests: int = 0


@pytest.fixture
def transfer(context: BrowserContext, page: Page) -> Transfer:
    found = Transfer()
    session = context.new_cdp_session(page)
    session.send("Network.enable")

    def count(event: dict[str, int]) -> None:
        found.received += event["encodedDataLength"]

    def count_request(_event: object) -> None:
        found.requests += 1

    session.on("Network.dataReceived", count)
    session.on("Network.requestWillBeSent", count_request)
    return found


@pytest.fixture(scope="module")
def storage(up: BrowserApp) -> Iterator[Storage]:
    environment = state_file.environment(up.state)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            patch.setenv(name, environment[name])
        storage = Storage(environment["AWS_ENDPOINT_URL_S3"])
        storage.connect()
        yield storage


@pytest.fixture(scope="module")
def heavy(ledger: Ledger, storage: Storage) -> str:
    """A batch whose files are large, and whose previews are as large as previews can be. Return its folder."""
    folder = "s3://dailies/batches/heavy/"
    video = a_video(frames=48)
    # A box of MP4 that players skip.
    padding = VIDEO_BYTES - len(video)
    storage.put(f"{folder}items/0.mp4", video + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8), "video/mp4")
    image = noise(200)
    storage.put(f"{folder}inputs/all.png", image + os.urandom(IMAGE_BYTES - len(image)), "image/png")
    preview = render.render(io.BytesIO(noise(480)), "image/png")
    assert len(preview) > MAX_BYTES / 2
    names = []
    for number in range(ITEMS):
        storage.copy(f"{folder}inputs/all.png", f"{folder}inputs/{number}.png")
        names.append(image_preview(f"{folder}inputs/{number}.png"))
        names.append(output_preview(an_output(folder, number)) or "")
    for name in names:
        storage.put(f"{folder}previews/{name}", preview, "image/webp")
    an_ended_batch(ledger, "heavy", folder)
    for name in names:
        ledger.previews.record("heavy", name, is_made=True)
    return folder


def an_output(folder: str, number: int) -> Output:
    return Output(f"{folder}items/0.mp4", "video/mp4", VIDEO_BYTES, f"{number:064x}")


def an_ended_batch(
    ledger: Ledger, batch_id: str, folder: str, *, status: str = "succeeded", with_media: bool = True
) -> None:
    row = replace(a_row(batch_id, ITEMS), output=folder)
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="digest")
    items = []
    for number in range(ITEMS):
        output = an_output(folder, number)
        content_type = output.content_type if with_media else "text/plain"
        file = {"uri": output.uri, "content_type": content_type, "size": output.size, "sha256": output.sha256}
        outcome = {"status": "succeeded", "error": None, "elapsed_s": "3", "outputs": [file]}
        image = f"{folder}inputs/{number}.png" if with_media else None
        spec: dict[str, Any] = {"image": image, "prompt": f"Prompt {number}, she smiles.", "params": {}}
        run = {"state": "succeeded", "attempt": 1, "task": "", "token": "", "found_by": None}
        cost = {"paid": "0.09", "charged": "0"}
        items.append((f"take-{number}", {"spec": spec, **run, **cost, "outcome": outcome}))
    ledger.items.restore(batch_id, items, {}, adopt_wait_s=60)
    ledger.batches.start(batch_id, price_usd=Decimal(0), max_failures=0)
    with ledger.redis.pipeline() as pipe:
        pipe.zrem(keys.OPEN_BATCHES, batch_id)
        pipe.hset(keys.batch_key(batch_id), mapping={"status": status, "finished": 1_780_000_000_000})
        pipe.execute()


def scroll_to_the_end(page: Page) -> None:
    for number in range(ITEMS):
        page.locator(f"[data-item='take-{number}']").scroll_into_view_if_needed()
        image = page.locator(f"[data-item='take-{number}'] img")
        page.wait_for_function("(image) => image.complete && image.naturalWidth > 0", arg=image.element_handle())


def test_a_page_of_48_large_items_loads_3_mb_for_the_first_screen_and_6_mb_in_all(
    page: Page, heavy: str, transfer: Transfer
) -> None:
    page.goto("/batches/heavy", wait_until="networkidle")
    assert transfer.received < FIRST_SCREEN_BYTES
    scroll_to_the_end(page)
    page.wait_for_load_state("networkidle")
    assert 100_000 < transfer.received < WHOLE_PAGE_BYTES
    # A video is fetched when it plays.
    video = page.get_by_label("Output of take-0", exact=True)
    video.hover()
    plays(video)


def test_a_second_visit_loads_no_picture_again(page: Page, heavy: str, transfer: Transfer) -> None:
    page.goto("/batches/heavy", wait_until="networkidle")
    scroll_to_the_end(page)
    transfer.received = 0
    page.goto("/", wait_until="networkidle")
    page.goto("/batches/heavy", wait_until="networkidle")
    scroll_to_the_end(page)
    assert transfer.received < 60_000


def test_an_idle_page_of_an_ended_batch_sends_nothing(page: Page, heavy: str, transfer: Transfer) -> None:
    page.clock.install()
    page.goto("/batches/heavy", wait_until="networkidle")
    scroll_to_the_end(page)
    page.wait_for_load_state("networkidle")
    transfer.requests = 0
    page.clock.run_for(10 * MINUTE_MS)
    page.wait_for_load_state("networkidle")
    assert transfer.requests == 0


def test_the_page_of_a_running_batch_loads_only_what_changes(
    page: Page, up: BrowserApp, ledger: Ledger, transfer: Transfer
) -> None:
    an_ended_batch(ledger, "light", "s3://dailies/batches/light/", status="paused", with_media=False)
    with page.expect_response(lambda response: response.url.endswith("/events")):
        page.goto("/batches/light")
    expect(page.locator("[data-item]")).to_have_count(ITEMS)
    transfer.received = 0
    up.request("POST", "/api/v1/batches/light/items/take-3/review", b'{"mark": "approved"}', "application/json")
    expect(page.locator("[data-item='take-3'] .chip.approved")).to_be_visible()
    assert transfer.received < 20_000


def test_posters_and_thumbnails_appear_on_an_open_page(page: Page, up: BrowserApp) -> None:
    page.goto(f"/batches/{up.submit('posters', ['She smiles', 'She waves'])}")
    expect(page.locator("video[poster]")).to_have_count(2, timeout=180_000)
    expect(page.locator("img[src*='/previews/']")).to_have_count(2)
