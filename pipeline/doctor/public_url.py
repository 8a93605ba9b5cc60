"""The public URL for callbacks, requested as the vendor requests it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import urllib3

from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.net.allowlist import is_public
from pipeline.settings import Settings

_SUBJECT = "callbacks"
_TIMEOUT = urllib3.Timeout(connect=5, read=10)


def check_public_url(settings: Settings) -> Iterator[Finding]:
    """Check that callbacks would arrive."""
    url = settings.public_url
    if url is None:
        yield note(_SUBJECT, "PIPELINE_PUBLIC_URL is not set: there are no callbacks, runs are polled.")
        return
    if not settings.secret.get_secret_value():
        yield wrong(
            _SUBJECT,
            "PIPELINE_PUBLIC_URL is set, but PIPELINE_SECRET is not: callback URLs cannot be signed.",
            "Set PIPELINE_SECRET to a long random text, the same for web and workers.",
        )
    yield _check_receiver(url)
    if _is_wiro(settings.wiro_api_url) and not _may_be_public(url):
        yield wrong(
            _SUBJECT,
            "PIPELINE_PUBLIC_URL has a private address: Wiro cannot call it.",
            "Use a public address, or unset PIPELINE_PUBLIC_URL to poll runs.",
        )


def _check_receiver(url: str) -> Finding:
    try:
        health = _status("GET", f"{url}/healthz")
        invalid_token = _status("POST", f"{url}/callbacks/wiro/x")
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return wrong(
            _SUBJECT,
            f"PIPELINE_PUBLIC_URL does not answer from this machine ({type(error).__name__}).",
            "Start the web process. Let its proxy pass /callbacks/ and /healthz.",
        )
    if health != 200:
        message = f"/healthz under PIPELINE_PUBLIC_URL returns {health}, not 200."
        return wrong(_SUBJECT, message, "Correct the URL: another service answers there.")
    if invalid_token != 404:
        return wrong(
            _SUBJECT,
            f"/callbacks/wiro/x under PIPELINE_PUBLIC_URL returns {invalid_token}, not 404.",
            "Let the proxy pass /callbacks/ unchanged and without a login. Set PIPELINE_SECRET for the web process.",
        )
    return ok(_SUBJECT, f"the receiver answers at {urlsplit(url).hostname}")


def _status(method: str, url: str) -> int:
    with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
        return pool.request(method, url, redirect=False).status


def _is_wiro(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith("wiro.ai")


def _may_be_public(url: str) -> bool:
    """Return whether the host has a public address, or is unknown on this machine."""
    try:
        resolved = socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, UnicodeError):
        return True
    return any(is_public(str(address[0])) for *_, address in resolved)
