"""A callback, sent to the public URL as the vendor sends it, and why it did not arrive if there is no response."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, ReadTimeoutError

from pipeline.domain.connection_faults import Peer, errors_of, fault_of, plain_hint
from pipeline.user_agent import USER_AGENT

TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_MAX_BODY_BYTES = 4096
_BODY = json.dumps({"id": "0", "status": "task_postprocess_end", "pexit": "0", "debugoutput": "x" * 1000}).encode()
_PROBLEM_TYPE = "application/problem+json"

Cause = tuple[str, str]
"""What is wrong, as a sentence, and what to do."""

_PEER = Peer(
    "PIPELINE_PUBLIC_URL",
    "Use a certificate of a public authority, for example of Let's Encrypt: the vendor refuses others.",
    client_certificate="Let the proxy require no certificate for /callbacks/: the vendor sends none.",
)


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
    host = urlsplit(url).hostname or ""
    if fault := fault_of(error):
        return f"{host} does not answer: {fault.what}.", fault.fix(_PEER)
    chain = list(errors_of(error))
    if any(isinstance(one, ReadTimeoutError) for one in chain):
        return (
            f"{host} takes the request and does not answer within {TIMEOUT_S:.0f} s.",
            "Check that the proxy reaches the web process, and read their logs.",
        )
    # urllib3 raises a subclass of ConnectTimeoutError for what `fault_of` finds, too.
    if any(isinstance(one, ConnectTimeoutError) for one in chain):
        return (
            f"{host} does not answer from this machine.",
            "Open its port in the firewall. If this machine alone cannot reach it, run `dailies doctor` elsewhere.",
        )
    return (
        f"{host} closes the connection and does not answer ({type(chain[0]).__name__}).",
        f"{plain_hint(_PEER)} Read the log of the proxy.",
    )


def _detail(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(document.get("detail", "")) if isinstance(document, dict) else ""
