"""Every form that a browser posts itself works under the Referrer-Policy of the pages, and so does the sign-in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect
from rq import Queue
from rq.serializers import JSONSerializer
from support.browser_app import BrowserApp, sign_in
from support.processes import until

from pipeline.batches.job_queue import QUEUE, Job
from pipeline.batches.retention import Retention
from pipeline.domain.preview_names import output_preview
from pipeline.ledger import redis_client
from pipeline.ledger.ledger import Ledger
from pipeline.local import state_file
from pipeline.storage.s3 import Storage

TEMPLATES = Path(__file__).parents[2] / "pipeline/web/templates"
POSTED = {
    "archived.html", "base.html", "login.html", "_automation_panels.html", "_worker_panels.html", "_share_links.html",
}  # fmt: skip
"""Templates whose forms are posted by these tests, and by those of test_share.py."""


def test_each_form_that_browsers_post_is_posted_by_a_test() -> None:
    posting = {file.name for file in TEMPLATES.glob("*.html") if '<form method="post"' in file.read_text()}
    assert posting == POSTED


@pytest.fixture
def nightly(up: BrowserApp) -> str:
    """The name of a schedule."""
    uri = up.upload()
    (up.state / "m.yaml").write_text(f"version: 1\nname: night\nitems: [{{image: '{uri}', prompt: She smiles}}]\n")
    (up.state / "schedules.yaml").write_text(
        "schedules: [{name: nightly, cron: '0 0 1 1 *', manifest: m.yaml, overlap: allow}]\n"
    )
    return "nightly"


def test_a_schedule_is_run_paused_and_resumed(page: Page, nightly: str) -> None:
    posts: list[Request] = []
    page.on("request", lambda request: posts.append(request) if request.method == "POST" else None)
    page.goto("/")
    page.get_by_role("button", name=f"Run {nightly}").click()
    expect(page).to_have_url(re.compile(f"/batches/{nightly}-"))
    page.goto("/")
    page.get_by_role("button", name=f"Pause {nightly}").click()
    resume = page.get_by_role("button", name=f"Resume {nightly}")
    expect(resume).to_be_visible()
    resume.click()
    expect(page.get_by_role("button", name=f"Pause {nightly}")).to_be_visible()
    # Why the header Origin cannot be checked.
    assert {post.all_headers()["origin"] for post in posts} == {"null"}


def test_a_failed_background_job_is_run_again_and_deleted(page: Page, up: BrowserApp) -> None:
    redis_url = state_file.environment(up.state)["REDIS_URL"]
    queue = Queue(QUEUE, connection=redis_client.connect(redis_url, decode=False), serializer=JSONSerializer)
    for action in ("Run collect again", "Delete collect"):
        job = queue.enqueue(Job.COLLECT.value)
        queue.remove(job)
        queue.failed_job_registry.add(job, ttl=600)
        page.goto("/")
        page.get_by_role("button", name=action).click()
        expect(page).to_have_url(re.compile("#failed-jobs$"))
        expect(page.get_by_role("button", name=action)).to_have_count(0)


def test_an_archived_batch_is_restored(
    page: Page, up: BrowserApp, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = up.submit("old", ["She smiles"])
    up.run("watch", batch_id)
    # The page loads the posters, and reports those that are missing.
    poster = output_preview(ledger.items.get(batch_id, "take-1").outputs[0])
    until(lambda: ledger.previews.made(batch_id, [str(poster)]), "the poster")
    environment = state_file.environment(up.state)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, environment[name])
    retention = Retention(ledger, Storage(environment["AWS_ENDPOINT_URL_S3"]), keep_days=1e-9)

    def is_archived() -> bool:
        retention.archive(batch_id)
        return ledger.batches.get(batch_id).archived is not None

    until(is_archived, "the batch to be archived")
    page.goto(f"/batches/{batch_id}")
    page.get_by_role("button", name="Load the items into Redis").click()
    expect(page.get_by_role("button", name="Select all in view")).to_be_visible()
    expect(page.locator("#archived")).to_have_count(0)


def test_the_printed_address_signs_a_browser_in_once(browser: Browser, up: BrowserApp) -> None:
    up.stop()
    up.start()
    address = up.sign_in_address()
    context = browser.new_context(base_url=up.url)
    page = context.new_page()
    page.goto(address)
    expect(page).to_have_url(f"{up.url}/")
    expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
    copy = browser.new_context(base_url=up.url, storage_state=context.storage_state())
    assert copy.request.get("/api/v1/batches").status == 200
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Access token")).to_be_visible()
    assert copy.request.get("/api/v1/batches").status == 401
    page.goto(address)
    expect(page.get_by_role("alert")).to_contain_text("api-token")
    page.get_by_label("Access token").fill((up.state / "api-token").read_text())
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
    copy.close()
    context.close()


def test_with_an_https_public_url_a_browser_on_this_machine_signs_in_too(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("https")
    app = BrowserApp(folder, {"PIPELINE_PUBLIC_URL": "https://dailies.example"})
    try:
        app.start()
        context = browser.new_context(base_url=app.url)
        page = context.new_page()
        sign_in(page, app.token)
        expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
        (cookie,) = context.cookies()
        assert (cookie["name"], cookie["secure"]) == ("__Host-dailies", True)
        assert json.loads(context.request.get("/api/v1/batches").text())["batches"] == []
        context.close()
    finally:
        app.stop()
