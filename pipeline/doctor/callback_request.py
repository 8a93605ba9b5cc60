"""A callback, sent to the public URL as the vendor sends it, and why it did not arrive if there is no response."""

from __future__ import annotations

import errno
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, ReadTimeoutError

from pipeline.user_agent import USER_AGENT

TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_MAX_BODY_BYTES = 4096
_BODY = json.dumps({"id": "0", "status": "task_postprocess_end", "pexit": "0", "debugoutput": "x" * 1000}).encode()
_PROBLEM_TYPE = "application/problem+json"

Cause = tuple[str, str]
"""What is wrong, as a sentence, and what to do."""

_SELF_SIGNED: Cause = (
    "The TLS certificate is self-signed: the vendor refuses it.",
    "Use a certificate of a public authority, for example of Let's Encrypt.",
)
_NO_ISSUER: Cause = (
    "The TLS certificate is not of an authority that this machine trusts.",
    "Let the proxy send the intermediate certificates, too. Use a certificate of a public authority.",
)
_OTHER_HOST: Cause = (
    "The TLS certificate is for another host.",
    "Use a certificate for the host of PIPELINE_PUBLIC_URL, or correct the URL.",
)
_CERTIFICATE_CAUSES: dict[int, Cause] = {
    9: ("The TLS certificate is not valid yet.", "Check the clock of this machine, and the certificate."),
    10: ("The TLS certificate has expired.", "Renew it, and let the proxy load it."),
    18: _SELF_SIGNED,
    19: _SELF_SIGNED,
    20: _NO_ISSUER,
    21: _NO_ISSUER,
    62: _OTHER_HOST,
    64: _OTHER_HOST,
}
"""Error of OpenSSL (X509_V_ERR_…) → cause."""


@dataclass(frozen=True)
class CallbackResponse:
    """The response to a callback. `location`: of a redirect. `detail`: of a problem document of Dailies, else ''."""

    status: int
    location: str
    detail: str


def send_callback(url: str) -> CallbackResponse:
    """Post a callback to `url`, on a connection of its own. Follow no redirect. Raises HTTPError, ValueError."""
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=TIMEOUT_S)
    with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
        response = pool.request("POST", url, body=_BODY, headers=headers, redirect=False, preload_content=False)
        is_problem = response.headers.get("Content-Type", "").startswith(_PROBLEM_TYPE)
        detail = _detail(response.read1(_MAX_BODY_BYTES)) if is_problem else ""
        response.close()
    return CallbackResponse(response.status, response.headers.get("Location", ""), detail)


def cause_of(error: Exception, url: str) -> Cause:
    """Return why there was no response from the server of `url`."""
    chain = list(_chain(error))
    host = urlsplit(url).hostname
    if any(isinstance(one, NameResolutionError | socket.gaierror) for one in chain):
        return f"DNS has no record of the host {host}.", "Create its DNS record, or correct PIPELINE_PUBLIC_URL."
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            fallback = (f"The TLS certificate is not valid: {one.verify_message}.", "Correct the certificate.")
            return _CERTIFICATE_CAUSES.get(one.verify_code, fallback)
    if any(isinstance(one, ssl.SSLError) for one in chain):
        return (
            f"There is no TLS at this port of {host}.",
            "Let the proxy serve TLS there, or write http:// in PIPELINE_PUBLIC_URL.",
        )
    return _connection_cause(chain, host or "")


def _connection_cause(chain: list[BaseException], host: str) -> Cause:
    if any(isinstance(one, ReadTimeoutError) for one in chain):
        return (
            f"{host} takes the request and does not answer within {TIMEOUT_S:.0f} s.",
            "Check that the proxy reaches the web process, and read their logs.",
        )
    numbers = [one.errno for one in chain if isinstance(one, OSError) and one.errno]
    if errno.ECONNREFUSED in numbers:
        return (
            f"{host} refuses the connection: it does not answer at this port.",
            "Start the web process and the proxy before it. Check the port in PIPELINE_PUBLIC_URL.",
        )
    if any(number in numbers for number in (errno.ENETUNREACH, errno.EHOSTUNREACH)):
        return (
            f"There is no route from this machine to {host}: it does not answer.",
            "Check the address and the network.",
        )
    # urllib3 raises a subclass of ConnectTimeoutError for the errors above, too.
    if any(isinstance(one, ConnectTimeoutError) for one in chain):
        return (
            f"{host} does not answer from this machine.",
            "Open its port in the firewall. If this machine alone cannot reach it, run `dailies doctor` elsewhere.",
        )
    return (
        f"{host} closes the connection and does not answer ({type(chain[0]).__name__}).",
        "If the port expects TLS, write https:// in PIPELINE_PUBLIC_URL. Read the log of the proxy.",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that it was raised for."""
    found: list[BaseException] = [error]
    for one in found:
        inner = [one.__cause__, one.__context__, *one.args, getattr(one, "reason", None)]
        found.extend(each for each in inner if isinstance(each, BaseException) and each not in found)
        yield one


def _detail(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(document.get("detail", "")) if isinstance(document, dict) else ""
