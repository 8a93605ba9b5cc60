"""Wiro: whether it knows us, and where outputs may come from."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from decimal import Decimal

from pipeline.doctor import Finding, note, ok, wrong
from pipeline.domain.formatting import dollars
from pipeline.errors import DailiesError
from pipeline.manifest.parser import DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.wiro.client import Wiro
from pipeline.wiro.errors import NotAuthorized, WiroError

_RETRY_DELAYS_S = (0.2, 0.5, 1.0)


def account(settings: Settings) -> Iterator[Finding]:
    """Whether the key and the signature are taken. Asks for the default model's price, which costs nothing."""
    if not settings.wiro_api_key.get_secret_value():
        yield wrong("Wiro", "WIRO_API_KEY is not set.", "Set it, and WIRO_API_SECRET for a project with signatures.")
        return
    kind = "signature" if settings.wiro_api_secret else "key only"
    try:
        price = _price_usd(Wiro.from_settings(settings))
    except NotAuthorized as error:
        yield wrong("Wiro", f"{settings.wiro_api_url} ({kind}): {error}", "Check WIRO_API_KEY and WIRO_API_SECRET.")
    except DailiesError as error:
        yield wrong("Wiro", f"{settings.wiro_api_url} ({kind}): {error}", "Check WIRO_API_URL and the network.")
    else:
        cost = "not charged by the run" if price is None else f"{dollars(price)} a run"
        yield ok("Wiro", f"{settings.wiro_api_url} takes the {kind}; {DEFAULT_MODEL}: {cost}")


def fetch_hosts(settings: Settings) -> Iterator[Finding]:
    """Whether the hosts that outputs come from can be found."""
    hosts = settings.fetch_hosts
    if not hosts:
        yield wrong("outputs", "PIPELINE_FETCH_HOSTS is empty: no output may be copied.", "Its default is *.wiro.ai.")
        return
    lost = [host for host in hosts if not host.startswith("*.") and not _resolves(host)]
    if lost:
        yield wrong("outputs", f"No such host: {', '.join(lost)}", "Correct PIPELINE_FETCH_HOSTS.")
    else:
        yield ok("outputs", f"copied from {', '.join(hosts)} only")
    if not any(host.startswith("*.wiro.ai") for host in hosts) and settings.wiro_api_url.endswith("wiro.ai/v1"):
        yield note("outputs", "Wiro's own CDN is not among them.", "Add *.wiro.ai to PIPELINE_FETCH_HOSTS.")


def _price_usd(wiro: Wiro) -> Decimal | None:
    """Return the default model's price. Retry passing errors, so that one does not count as a problem."""
    for delay_s in _RETRY_DELAYS_S:
        try:
            return wiro.tool(DEFAULT_MODEL).per_run_usd
        except WiroError as error:
            if not error.retryable:
                raise
            time.sleep(delay_s)
    return wiro.tool(DEFAULT_MODEL).per_run_usd


def _resolves(entry: str) -> bool:
    host = entry[1:].partition("]")[0] if entry.startswith("[") else entry.partition(":")[0]
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True
