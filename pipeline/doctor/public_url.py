"""The public URL for callbacks: a signed callback is sent to it, as the vendor sends one.

The callback is for a run that does not exist. The receiver records its arrival in Redis under the id of the check, so
no other server can be taken for it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from secrets import token_hex
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from pipeline.doctor.callback_request import CallbackResponse, Cause, cause_of, send_callback
from pipeline.doctor.callback_response import cause_of_other_server, cause_of_refusal
from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.domain.callback_tokens import LIVE_CHECK_BATCH, UNKNOWN_RUN, CallbackSigner, RunId
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.live_checks import LiveCheckStore
from pipeline.net.allowlist import is_public
from pipeline.settings import Settings

_SUBJECT = "callbacks"
_CALLBACKS = 3
"""Each on a connection of its own: a balancer passes them to different web processes."""


def check_public_url(settings: Settings) -> Iterator[Finding]:
    """Check that callbacks arrive. Raises Unreachable."""
    url, secret = settings.public_url, settings.secret.get_secret_value()
    if url is None:
        yield note(_SUBJECT, "PIPELINE_PUBLIC_URL is not set: there are no callbacks, runs are polled.")
        return
    if not secret.strip(" ,"):
        yield wrong(
            _SUBJECT,
            "PIPELINE_PUBLIC_URL is set, but PIPELINE_SECRET is not: callback URLs cannot be signed.",
            "Set PIPELINE_SECRET to a long random text, the same for web and workers.",
        )
        return
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        is_address = False
    if not is_address:
        message = "PIPELINE_PUBLIC_URL is not a web address that the vendor can call."
        yield wrong(_SUBJECT, message, "Write it like https://dailies.example.com, without a user name.")
        return
    if secret != secret.strip():
        message = "PIPELINE_SECRET begins or ends with a blank or a line end: read from a file, it is another one."
        yield note(_SUBJECT, message, "Remove it, for all processes at once.")
    yield _check_arrival(url, secret, Ledger.connect(settings.redis_url).live_checks)
    if (urlsplit(settings.wiro_api_url).hostname or "").endswith("wiro.ai"):
        yield from _check_address(url)


def _check_arrival(url: str, secret: str, checks: LiveCheckStore) -> Finding:
    host, check_id = urlsplit(url).hostname, token_hex(8)
    signed_url = CallbackSigner(secret).url(url, RunId(LIVE_CHECK_BATCH, check_id, 1))
    forged_url = CallbackSigner(token_hex(16)).url(url, RunId(LIVE_CHECK_BATCH, check_id, 1))
    checks.open(check_id, refusals=0)
    try:
        for number in range(1, _CALLBACKS + 1):
            response = send_callback(signed_url)
            is_recorded = len(checks.callbacks(check_id)) == number
            if not is_recorded or response.status != 200:
                return _wrong(host, _cause(response, signed_url, forged_url, is_recorded=is_recorded))
        forged = send_callback(forged_url)
    except (HTTPError, ValueError) as error:
        return _wrong(host, cause_of(error, url))
    finally:
        checks.close(check_id)
    if forged.status != 404:
        message = f"A callback with a forged token gets HTTP {forged.status}, not 404."
        return _wrong(host, (message, "Let the proxy pass the responses of /callbacks/ on as they are."))
    return ok(_SUBJECT, f"the receiver answers at {host}, and refuses a forged token")


def _cause(response: CallbackResponse, signed_url: str, forged_url: str, *, is_recorded: bool) -> Cause:
    if not is_recorded and "/callbacks" in urlsplit(signed_url).path.rpartition("/callbacks/wiro/")[0]:
        message = f"PIPELINE_PUBLIC_URL contains /callbacks, which the service adds itself (HTTP {response.status})."
        return message, "Write only what precedes /callbacks."
    if is_recorded:
        message = f"The receiver takes the callback, but the vendor gets HTTP {response.status}, not 200."
        return message, "Let the proxy pass the responses of /callbacks/ on as they are."
    if not 200 <= response.status < 300:
        return cause_of_refusal(response, signed_url)
    return cause_of_other_server(response, is_dailies=send_callback(forged_url).detail == UNKNOWN_RUN)


def _wrong(host: str | None, cause: Cause) -> Finding:
    message, fix = cause
    return wrong(_SUBJECT, f"A callback to PIPELINE_PUBLIC_URL ({host}) does not arrive. {message}", fix)


def _check_address(url: str) -> Iterator[Finding]:
    """Check that Wiro may reach the address of the host, as far as this machine can resolve it."""
    host = urlsplit(url).hostname or ""
    try:
        resolved = {str(address[0]) for *_, address in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return
    if any(map(is_public, resolved)):
        return
    message = "PIPELINE_PUBLIC_URL has a private address: Wiro cannot call it."
    fix = "Use a public address, or unset PIPELINE_PUBLIC_URL to poll runs."
    if host == "localhost" or host in resolved:
        yield wrong(_SUBJECT, message, fix)
    else:
        # The DNS of this network may differ from the public one.
        yield note(_SUBJECT, f"{message} That is so if its public DNS record is the same as here.", fix)
