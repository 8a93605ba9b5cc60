"""Find and start a Chromium browser: `launch` for the tests, `python tests/support/browser.py` to install one.

Order: an installed browser, then Playwright's own download, then Debian's package where apt-get may run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from playwright.sync_api import Browser, Error, Playwright, sync_playwright

COMMANDS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "microsoft-edge-stable",
)  # fmt: skip
PLACES = (
    "/usr/bin/chromium",
    "/snap/bin/chromium",
    "/opt/google/chrome/chrome",
    "/opt/microsoft/msedge/msedge",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
NO_BROWSER = (
    "No browser starts. Install Chromium, Chrome or Edge (Debian: apt-get install chromium), "
    "or run: .venv/bin/playwright install --with-deps chromium"
)
_DOWNLOAD_TIMEOUT_S = 300
_APT_TIMEOUT_S = 600
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class NoBrowser(Exception):
    """No browser starts on this machine. The message names what to install."""


def installed() -> Iterator[str]:
    """Yield the paths of installed browsers: first those on PATH, then those in the usual places."""
    on_path = [shutil.which(command) for command in COMMANDS]
    yield from dict.fromkeys(path for path in (*on_path, *PLACES) if path and os.access(path, os.X_OK))


def launch(playwright: Playwright) -> Browser:
    """Start the first browser that runs: an installed one, else the one that Playwright downloaded.

    Raises NoBrowser.
    """
    for path in (*installed(), None):
        # A path may be a stub that only advises to install the browser.
        with suppress(Error):
            return playwright.chromium.launch(executable_path=path, args=_FLAGS)
    raise NoBrowser(NO_BROWSER)


def download() -> bool:
    """Download Playwright's own Chromium. Return whether the download succeeded."""
    return _succeeds([sys.executable, "-m", "playwright", "install", "chromium"], _DOWNLOAD_TIMEOUT_S)


def install_package() -> bool:
    """Install Debian's package as root. Return whether the installation succeeded."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    return _succeeds(["apt-get", "update", "-qq"], _APT_TIMEOUT_S) and _succeeds(install, _APT_TIMEOUT_S)


def ensure() -> str:
    """Return the version of a browser that starts, after an installation if none did.

    Raises NoBrowser.
    """
    attempts: tuple[Callable[[], bool], ...] = (lambda: True, download, install_package)
    for attempt in attempts:
        if attempt():
            with suppress(NoBrowser), sync_playwright() as playwright, launch(playwright) as browser:
                return browser.version
    raise NoBrowser(NO_BROWSER)


def main() -> None:
    """Print the version of the browser. Without one, print what to install; the browser tests then fail."""
    try:
        print(f"Browser: Chromium {ensure()}")
    except NoBrowser as error:
        print(f"The browser tests will fail. {error}", file=sys.stderr)


def _succeeds(command: list[str], timeout_s: float) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        completed = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{' '.join(command)}: {error}", file=sys.stderr)
        return False
    if completed.returncode:
        lines = (completed.stdout + completed.stderr).splitlines()
        reason = next((line for line in lines if line.startswith(("Error", "E:"))), "")
        print(f"{' '.join(command)} exited with {completed.returncode}. {reason}", file=sys.stderr)
    return completed.returncode == 0


if __name__ == "__main__":
    main()
