"""Whether the service sends notifications to an address, as far as the address itself shows. Pure.

A name may still resolve to a private address: `guarded_http.py` refuses that when the connection opens.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from pipeline.domain.web_address import parse
from pipeline.net.allowlist import AllowList, Permission, is_public

SETTING = "PIPELINE_NOTIFY_HOSTS"


def notify_refusal(url: str, hosts: Iterable[str]) -> str | None:
    """Return why the service would not send to `url`, None if it would. `hosts`: the setting `notify_hosts`.

    `url` is an address that `domain/web_address.py` accepts.
    """
    if isinstance(AllowList(hosts, setting=SETTING).check(url), Permission):
        return None
    address = parse(url)
    if address.scheme == "https" and not _is_private(address.host):
        return None
    return (
        f"notify must be a public https:// address: to send to this one, add {address.netloc} to {SETTING} of the "
        "service and restart it"
    )


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return not is_public(host)
