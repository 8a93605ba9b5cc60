"""The public URL, as the vendor would use it, and who may come in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import urllib3

from pipeline.doctor import Finding, note, ok, wrong
from pipeline.net.allowlist import is_public
from pipeline.settings import Settings

_TIMEOUT = urllib3.Timeout(connect=5, read=10)


def public_url(settings: Settings) -> Iterator[Finding]:
    """Whether callbacks would arrive."""
    url = settings.public_url
    if url is None:
        yield note("callbacks", "PIPELINE_PUBLIC_URL is not set: there are none, runs are polled.")
        return
    if not settings.secret.get_secret_value():
        yield wrong(
            "callbacks",
            "PIPELINE_PUBLIC_URL is set and PIPELINE_SECRET is not: callback URLs cannot be signed.",
            "Set PIPELINE_SECRET to a long random text, the same for web and workers.",
        )
    yield _receiver(url)
    if _is_wiro(settings.wiro_api_url) and not _may_be_reached(url):
        yield wrong(
            "callbacks",
            "PIPELINE_PUBLIC_URL is a private address: Wiro cannot call it.",
            "Give a public one, or unset it: runs are polled then.",
        )


def _receiver(url: str) -> Finding:
    try:
        alive = _status("GET", f"{url}/healthz")
        stranger = _status("POST", f"{url}/callbacks/wiro/x")
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return wrong(
            "callbacks",
            f"PIPELINE_PUBLIC_URL does not answer from here ({type(error).__name__}).",
            "Start the web process, and let the proxy before it pass /callbacks/ and /healthz on.",
        )
    if alive != 200:
        return wrong(
            "callbacks", f"/healthz under PIPELINE_PUBLIC_URL answers {alive}, not 200.", "Is it this service?"
        )
    if stranger != 404:
        return wrong(
            "callbacks",
            f"/callbacks/wiro/x under PIPELINE_PUBLIC_URL answers {stranger}, not 404.",
            "Let the proxy pass /callbacks/ on as it is, without asking for a login; is PIPELINE_SECRET set there?",
        )
    return ok("callbacks", f"the receiver answers at {urlsplit(url).hostname}")


def _status(method: str, url: str) -> int:
    with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
        return pool.request(method, url, redirect=False).status


def _is_wiro(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith("wiro.ai")


def _may_be_reached(url: str) -> bool:
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, UnicodeError):
        return True
    return any(is_public(str(address[0])) for *_, address in found)


def gate(settings: Settings) -> Iterator[Finding]:
    """Whether API and dashboard are locked."""
    if settings.api_token is None or not settings.api_token.get_secret_value():
        yield note(
            "API", "PIPELINE_API_TOKEN is not set: API and dashboard for this machine only.", "Set it to let others in."
        )
    else:
        yield ok("API", "API and dashboard ask for the token")
