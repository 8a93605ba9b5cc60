"""The service that the browser tests use, and the errors of its pages."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
from playwright.sync_api import ConsoleMessage, Locator, Page

from support.processes import ROOT, Up

SAMPLES = ROOT / "config/samples"


class BrowserApp(Up):
    """A service that made its API token itself, and requests to its API."""

    def __init__(self, state: Path, environment: Mapping[str, str]) -> None:
        super().__init__(state, environment, workers=1)

    def request(self, method: str, path: str, body: bytes = b"", content_type: str = "application/yaml") -> Any:
        """Send a request to the API. Return the JSON of the response."""
        headers = {**self.bearer(), "Content-Type": content_type}
        response = urllib3.request(method, self.url + path, body=body or None, headers=headers, timeout=30)
        assert response.status < 300, response.data.decode()
        return json.loads(response.data)

    def upload(self) -> str:
        """Upload an image. Return its URI."""
        image = (SAMPLES / "portrait.jpg").read_bytes()
        return str(self.request("POST", "/api/v1/inputs", image, "image/jpeg")["uri"])

    def submit(self, name: str, prompts: list[str]) -> str:
        """Submit a batch of one image with these prompts, one attempt each. Return its id."""
        uri = self.upload()
        items = [{"id": f"take-{n}", "image": uri, "prompt": prompt} for n, prompt in enumerate(prompts, 1)]
        manifest = {"version": 1, "name": name, "limits": {"attempts": 1}, "items": items}
        return str(self.request("POST", "/api/v1/batches", json.dumps(manifest).encode())["id"])


@dataclass
class PageErrors:
    """The errors that the pages of a browser context reported."""

    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._on_console)
        page.on("dialog", lambda dialog: dialog.accept())

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url')})")


def drop(page: Page, *files: Path) -> None:
    """Drop files on the page."""
    encoded = [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files]
    page.evaluate(
        """(encoded) => {
            const transfer = new DataTransfer();
            for (const [name, text] of encoded) {
                const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
                const type = name.endsWith(".jpg") ? "image/jpeg" : "";
                transfer.items.add(new File([bytes], name, { type }));
            }
            document.getElementById("drop-zone").dispatchEvent(
                new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        encoded,
    )


def sign_in(page: Page, token: str) -> None:
    """Sign in with a token."""
    page.goto("/login")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def plays(video: Locator, timeout_s: float = 20) -> None:
    """Wait until a video has played for 0.2 s."""
    deadline = time.monotonic() + timeout_s
    while video.evaluate("(video) => video.currentTime") < 0.2:
        if time.monotonic() > deadline:
            pytest.fail(f"Timeout: the video did not play for {timeout_s:.0f} s.")
        video.page.wait_for_timeout(50)
