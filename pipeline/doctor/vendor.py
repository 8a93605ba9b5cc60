"""Wiro: the account, and the hosts that outputs are downloaded from."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from pipeline.doctor.findings import Finding, note, ok, one_line, wrong
from pipeline.doctor.retries import retried
from pipeline.domain.connection_faults import fault_of, is_hung_up, plain_hint
from pipeline.domain.formatting import dollars
from pipeline.errors import DailiesError
from pipeline.manifest.parser import DEFAULT_MODEL
from pipeline.net.allowlist import AllowList
from pipeline.settings import Settings
from pipeline.wiro.client import Wiro
from pipeline.wiro.errors import NoSuchEndpoint, NotAuthorized, WiroError
from pipeline.wiro.transport import PEER

_LISTED = 10
_RETRY_DELAYS_S = (0.2, 0.5, 1.0)
_VENDOR_HOST = ".wiro.ai"
_CDN, _OTHER_CDN = "https://cdn1.wiro.ai/", "https://cdn2.wiro.ai/"
"""Outputs are on cdn1.wiro.ai or another host of wiro.ai (API doc)."""


def check_account(settings: Settings) -> Iterator[Finding]:
    """Check that the vendor accepts key and signature, and lists tasks. Both requests are free."""
    if not settings.wiro_api_key.get_secret_value():
        fix = "Set WIRO_API_KEY, and WIRO_API_SECRET for a project with signatures."
        yield wrong("Wiro", "WIRO_API_KEY is not set.", fix)
        return
    if not settings.wiro_api_url.startswith(("https://", "http://")):
        yield wrong("Wiro", "WIRO_API_URL is not a web address.", "Write it like https://api.wiro.ai/v1.")
        return
    kind = "signature" if settings.wiro_api_secret else "key only"
    try:
        wiro = Wiro.from_settings(settings)
        price = retried(lambda: wiro.model_schema(DEFAULT_MODEL).per_run_usd, _RETRY_DELAYS_S)
    except NotAuthorized as error:
        yield wrong(
            "Wiro",
            f"{settings.wiro_api_url} ({kind}): {error}",
            "Check WIRO_API_KEY, WIRO_API_SECRET and WIRO_API_URL.",
        )
    except DailiesError as error:
        yield wrong("Wiro", f"{settings.wiro_api_url} ({kind}): {error}", _fix(error, settings))
    else:
        cost = "no fixed price per run" if price is None else f"{dollars(price)} a run"
        yield ok("Wiro", f"{settings.wiro_api_url} accepts the {kind}; {DEFAULT_MODEL}: {cost}")
        yield from _check_task_list(wiro, settings)


def _fix(error: DailiesError, settings: Settings) -> str:
    if fault := fault_of(error):
        return fault.fix(PEER)
    if isinstance(error, NoSuchEndpoint):
        return "WIRO_API_URL begins with https:// and ends with the path of the API, such as https://api.wiro.ai/v1."
    is_refused = is_hung_up(error) or "HTTP 400" in str(error)
    hint = f"{plain_hint(PEER)} " if is_refused and settings.wiro_api_url.startswith("http:") else ""
    return f"{hint}Check WIRO_API_URL and the network."


def _check_task_list(wiro: Wiro, settings: Settings) -> Iterator[Finding]:
    """Check that runs whose response was lost can be searched for. Callbacks find them, too."""
    try:
        rows = retried(lambda: wiro.list_tasks(limit=_LISTED), _RETRY_DELAYS_S)
    except WiroError as error:
        reason = one_line(error)
    else:
        if all(row.id or row.token for row in rows):
            return
        reason = "It has rows that name no task."
    subject, message = "Wiro tasks", f"The vendor's list of tasks (Task/List) cannot be read: {reason}"
    allow = "Allow the project to list its tasks at the vendor"
    if settings.public_url:
        yield note(subject, f"{message} A run whose response is lost is found by its callback only.", f"{allow}.")
    else:
        cost = "A run whose response is lost is not found: its item stays `unknown` until a person decides."
        yield wrong(subject, f"{message} {cost}", f"{allow}, or set PIPELINE_PUBLIC_URL: callbacks find it, too.")


def check_fetch_hosts(settings: Settings) -> Iterator[Finding]:
    """Check that the hosts of outputs exist."""
    hosts = settings.fetch_hosts
    if not hosts:
        message = "PIPELINE_FETCH_HOSTS is empty: no output can be copied."
        yield wrong("outputs", message, "Set it, for example to its default *.wiro.ai.")
        return
    unknown = [host for host in hosts if not host.startswith("*.") and not _resolves(host)]
    if unknown:
        fix = "Correct PIPELINE_FETCH_HOSTS. It has hosts such as *.wiro.ai or cdn.example.com:8443, no addresses."
        yield wrong("outputs", f"These hosts do not exist: {', '.join(unknown)}.", fix)
    else:
        yield ok("outputs", f"copied from {', '.join(hosts)} only")
    if (urlsplit(settings.wiro_api_url).hostname or "").endswith(_VENDOR_HOST):
        yield from _check_cdn(hosts)


def _check_cdn(hosts: Sequence[str]) -> Iterator[Finding]:
    allowed, fix = AllowList(hosts), "Add *.wiro.ai to PIPELINE_FETCH_HOSTS."
    if isinstance(allowed.check(_CDN), str):
        message = "PIPELINE_FETCH_HOSTS lacks Wiro's CDN: runs are paid, and no output can be copied before it expires."
        yield wrong("outputs", message, fix)
    elif isinstance(allowed.check(_OTHER_CDN), str):
        yield note("outputs", "Wiro may serve outputs from other hosts than those of PIPELINE_FETCH_HOSTS, too.", fix)


def _resolves(entry: str) -> bool:
    host = entry[1:].partition("]")[0] if entry.startswith("[") else entry.partition(":")[0]
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True
