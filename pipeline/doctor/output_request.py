"""How the vendor serves an output: one request, as a worker sends it, that reads no body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urllib3.exceptions import HTTPError

from pipeline.domain.web_address import InvalidAddress, parse, redirected
from pipeline.net.allowlist import AllowList, Permission
from pipeline.net.guarded_http import GuardedHttp

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class OutputResponse:
    """The response after redirects. `hosts`: patterns of all hosts in order; `refused`: of those not allowed.

    `status` is None if no response came; `error` is the reason.
    """

    hosts: tuple[str, ...]
    refused: tuple[str, ...] = ()
    status: int | None = None
    content_type: str = ""
    size: int | None = None
    error: str = ""


def request_output(url: str, fetch_hosts: Sequence[str]) -> OutputResponse:
    """Request an output. A host outside `fetch_hosts` is requested too, if its address is public."""
    allowed = AllowList(fetch_hosts)
    hosts: list[str] = []
    refused: list[str] = []
    for _ in range(_MAX_REDIRECTS + 1):
        permission = allowed.check(url)
        hosts.append(host_pattern(url))
        if isinstance(permission, str):
            refused.append(hosts[-1])
        is_private = isinstance(permission, Permission) and permission.private
        try:
            response = GuardedHttp(private=is_private).request("GET", url, headers={"Accept-Encoding": "identity"})
        except (HTTPError, ValueError) as error:
            return OutputResponse(tuple(hosts), tuple(refused), error=type(error).__name__)
        response.close()
        if response.status not in _REDIRECTS:
            break
        url = redirected(url, response.headers.get("Location", ""))
    length = response.headers.get("Content-Length", "")
    return OutputResponse(
        tuple(hosts),
        tuple(refused),
        response.status,
        response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
        int(length) if length.isdecimal() else None,
    )


def host_pattern(url: str) -> str:
    """Return the entry of PIPELINE_FETCH_HOSTS for a URL: `*.wiro.ai` for a subdomain, else the host and its port."""
    try:
        address = parse(url)
    except InvalidAddress:
        return "an invalid URL"
    labels = address.host.split(".")
    if (address.scheme, address.port) == ("https", 443) and len(labels) > 2 and not labels[-1].isdecimal():
        return "*." + ".".join(labels[1:])
    return address.netloc
