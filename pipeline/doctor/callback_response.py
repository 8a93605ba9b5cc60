"""What the response to a callback that did not reach the receiver shows about the path to it. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from pipeline.doctor.callback_request import CallbackResponse, Cause
from pipeline.domain.callback_tokens import NOT_STORED, UNKNOWN_RUN

_FORWARD = "Let the proxy pass POST requests to /callbacks/ on to the web process"
_PATH = "callbacks/wiro/"
_CAUSES: dict[int, Cause] = {
    400: (
        "The server does not accept the request (HTTP 400).",
        f"If the port expects TLS, write https:// in PIPELINE_PUBLIC_URL. {_FORWARD}, unchanged.",
    ),
    401: ("The proxy requires a login (HTTP 401).", f"{_FORWARD} without a login: the vendor sends no password."),
    403: (
        "The proxy or a firewall refuses it (HTTP 403).",
        f"{_FORWARD}, from all addresses and without a login.",
    ),
    404: (
        "The server has no such path (HTTP 404).",
        f"{_FORWARD}. If the proxy serves Dailies under a path, PIPELINE_PUBLIC_URL ends with this path.",
    ),
    405: (
        "The server takes no POST there (HTTP 405): it is not the web process, or the proxy allows GET only.",
        f"{_FORWARD}.",
    ),
    411: ("The proxy refuses the body (HTTP 411).", f"{_FORWARD} with their bodies."),
    413: (
        "The proxy takes no body of 1 kB (HTTP 413).",
        "Raise its limit for /callbacks/ to 2 MiB (nginx: client_max_body_size 2m).",
    ),
    429: (
        "The proxy limits the requests of an address (HTTP 429).",
        "Raise its limit for /callbacks/: the vendor calls from few addresses.",
    ),
    500: ("The server failed (HTTP 500).", "Read the logs of the web process and of the proxy."),
    502: (
        "The proxy does not reach the web process (HTTP 502).",
        "Start the web process. Correct its address and port in the proxy.",
    ),
    503: (
        "The proxy has no web process to pass it to (HTTP 503).",
        "Start the web process. Correct its address and port in the proxy.",
    ),
    504: (
        "The web process does not answer the proxy in time (HTTP 504).",
        "Check that it runs, and that the proxy reaches its address and port. Read its log.",
    ),
}


def cause_of_refusal(response: CallbackResponse, url: str) -> Cause:
    """Return why a callback to `url` got this response, which is not a success."""
    if 300 <= response.status < 400:
        return _redirect(response, url)
    if response.detail == UNKNOWN_RUN:
        return (
            "Dailies answers, but its web process has another PIPELINE_SECRET, or none (HTTP 404).",
            "Set the same PIPELINE_SECRET for web, workers and this command, and restart them. If another Dailies "
            "answers there, correct PIPELINE_PUBLIC_URL.",
        )
    if response.detail == NOT_STORED:
        return (
            "Dailies answers, but its web process cannot write to Redis (HTTP 503).",
            "Check REDIS_URL of the web process, and read its log.",
        )
    if response.detail:
        return (
            f"Dailies answers, but the proxy changes the path (HTTP {response.status}).",
            "Let the proxy pass /callbacks/ on with this path.",
        )
    return _CAUSES.get(response.status, (f"The server answers HTTP {response.status}.", f"{_FORWARD}, unchanged."))


def cause_of_other_server(response: CallbackResponse, *, is_dailies: bool) -> Cause:
    """Return why a callback got a success that our receiver did not record."""
    if is_dailies:
        return (
            "Dailies answers, but its web process uses another Redis.",
            "Set the same REDIS_URL for web, workers and this command, and restart them.",
        )
    return (
        f"Another server answers there (HTTP {response.status}), perhaps the page of a login or of the hoster.",
        f"{_FORWARD}, or correct PIPELINE_PUBLIC_URL.",
    )


def _redirect(response: CallbackResponse, url: str) -> Cause:
    here, there = urlsplit(url), urlsplit(response.location)
    # The path holds the token, which belongs into no message.
    base, token = here.path.split(_PATH)[0], here.path.rpartition("/")[2]
    if there.netloc and token in there.path and (there.scheme, there.netloc) != (here.scheme, here.netloc):
        target = f"{there.scheme}://{there.netloc}{there.path.split(_PATH)[0]}".rstrip("/")
        return (
            f"It is redirected (HTTP {response.status}), and a redirected POST becomes a GET or is not repeated.",
            f"Set PIPELINE_PUBLIC_URL={target}.",
        )
    if token in there.path:
        return (
            f"The proxy redirects it to another path (HTTP {response.status}): a redirected POST becomes a GET.",
            f"Let the proxy pass {base}callbacks/ on as it is.",
        )
    return (
        f"It is redirected to another page (HTTP {response.status}), perhaps a login.",
        f"{_FORWARD} without a login.",
    )
