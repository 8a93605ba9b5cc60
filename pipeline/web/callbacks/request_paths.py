"""The paths of callbacks and S3 events as senders and proxies write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_SLASHES = re.compile("/{2,}")


class RequestPaths:
    """WSGI middleware: takes slashes too many, and the path of PIPELINE_PUBLIC_URL, from the paths of callbacks.

    Flask would answer a doubled slash with a redirect, and many senders repeat the request without its body. A proxy
    may pass on the path of the public URL, or remove it. Other paths stay as they are.
    """

    def __init__(self, app: WsgiApp, public_url: str | None) -> None:
        self._app = app
        # WSGI paths are bytes of UTF-8 as Latin-1.
        path = unquote(urlsplit(public_url or "").path).encode().decode("latin-1")
        self._prefix = _SLASHES.sub("/", path).rstrip("/")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = _SLASHES.sub("/", environ.get("PATH_INFO", "")).rstrip("/")
        path = path.removeprefix(self._prefix) if path.startswith(f"{self._prefix}/") else path
        if path.startswith("/callbacks/wiro/") or path in ("/events/s3", "/healthz", "/readyz"):
            environ["PATH_INFO"] = path
        return self._app(environ, start_response)
