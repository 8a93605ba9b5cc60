"""Wiro: the account, and the hosts that outputs are downloaded from."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from decimal import Decimal

from pipeline.doctor.findings import Finding, note, ok, one_line, wrong
from pipeline.domain.formatting import dollars
from pipeline.errors import DailiesError
from pipeline.manifest.parser import DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.wiro.client import Wiro
from pipeline.wiro.errors import NotAuthorized, WiroError

_LISTED = 10
_RETRY_DELAYS_S = (0.2, 0.5, 1.0)


def check_account(settings: Settings) -> Iterator[Finding]:
    """Check that the vendor accepts key and signature, by a request for a price, which is free."""
    if not settings.wiro_api_key.get_secret_value():
        fix = "Set WIRO_API_KEY, and WIRO_API_SECRET for a project with signatures."
        yield wrong("Wiro", "WIRO_API_KEY is not set.", fix)
        return
    kind = "signature" if settings.wiro_api_secret else "key only"
    wiro = Wiro.from_settings(settings)
    try:
        price = _price_usd(wiro)
    except NotAuthorized as error:
        yield wrong("Wiro", f"{settings.wiro_api_url} ({kind}): {error}", "Check WIRO_API_KEY and WIRO_API_SECRET.")
    except DailiesError as error:
        yield wrong("Wiro", f"{settings.wiro_api_url} ({kind}): {error}", "Check WIRO_API_URL and the network.")
    else:
        cost = "no fixed price per run" if price is None else f"{dollars(price)} a run"
        yield ok("Wiro", f"{settings.wiro_api_url} accepts the {kind}; {DEFAULT_MODEL}: {cost}")
        yield from _check_list(wiro)


def _check_list(wiro: Wiro) -> Iterator[Finding]:
    """Check that the vendor lists tasks: runs whose response is lost are searched for in the list."""
    try:
        rows = wiro.list_tasks(limit=_LISTED)
    except WiroError as error:
        reason = one_line(error)
    else:
        if all(row.id or row.token for row in rows):
            return
        reason = "It has rows that name no task."
    yield note(
        "Wiro",
        f"The list of tasks cannot be read: {reason} Runs whose response is lost are found by their callbacks only.",
        "Set PIPELINE_PUBLIC_URL, so that callbacks arrive, and ask the vendor to allow /Task/List for the key.",
    )


def check_fetch_hosts(settings: Settings) -> Iterator[Finding]:
    """Check that the hosts of outputs exist."""
    hosts = settings.fetch_hosts
    if not hosts:
        message = "PIPELINE_FETCH_HOSTS is empty: no output can be copied."
        yield wrong("outputs", message, "Set it, for example to its default *.wiro.ai.")
        return
    unknown = [host for host in hosts if not host.startswith("*.") and not _resolves(host)]
    if unknown:
        yield wrong("outputs", f"These hosts do not exist: {', '.join(unknown)}.", "Correct PIPELINE_FETCH_HOSTS.")
    else:
        yield ok("outputs", f"copied from {', '.join(hosts)} only")
    if not any(host.startswith("*.wiro.ai") for host in hosts) and settings.wiro_api_url.endswith("wiro.ai/v1"):
        yield note("outputs", "Wiro's CDN is not allowed.", "Add *.wiro.ai to PIPELINE_FETCH_HOSTS.")


def _price_usd(wiro: Wiro) -> Decimal | None:
    """Return the price of the default model. Retry temporary errors, so that one does not count as a problem."""
    for delay_s in _RETRY_DELAYS_S:
        try:
            return wiro.model_schema(DEFAULT_MODEL).per_run_usd
        except WiroError as error:
            if not error.retryable:
                raise
            time.sleep(delay_s)
    return wiro.model_schema(DEFAULT_MODEL).per_run_usd


def _resolves(entry: str) -> bool:
    host = entry[1:].partition("]")[0] if entry.startswith("[") else entry.partition(":")[0]
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True
