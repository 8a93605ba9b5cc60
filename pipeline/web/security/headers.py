"""Security headers of every response: what a browser may do with it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Flask, Response, request

from pipeline.settings import Settings

HSTS = "max-age=31536000"


def add_security_headers(app: Flask, settings: Settings, *, skip: str) -> None:
    """Add the headers to every response of `app`, unless it has them.

    Browsers load outputs and images from the `s3_endpoint` and the `fetch_hosts` of `settings`. `skip`: a blueprint
    whose responses no browser shows.
    """
    media, images = _media_origin(settings.s3_endpoint), " ".join(image_origins(settings.fetch_hosts))
    fixed = {
        "Content-Security-Policy": _policy(media, images),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
    if settings.is_https:
        fixed["Strict-Transport-Security"] = HSTS

    @app.after_request
    def add(response: Response) -> Response:
        if request.blueprint == skip:
            return response
        for name, value in fixed.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return response


def image_origins(fetch_hosts: Iterable[str]) -> list[str]:
    """Return from where pages may load the images of items: by TLS, or from the addresses in `fetch_hosts`."""
    addresses = [host for host in fetch_hosts if ":" in host and "*" not in host]
    return ["https:", *(f"http://{address}" for address in addresses)]


def _media_origin(s3_endpoint: str | None) -> str:
    """Return the origins of presigned URLs."""
    if s3_endpoint is None:
        return "https://*.amazonaws.com"
    parts = urlsplit(s3_endpoint)
    # A server with a host name may also serve a bucket at bucket.hostname.
    buckets = f" {parts.scheme}://*.{parts.netloc}" if any(map(str.isalpha, parts.hostname or "")) else ""
    return f"{parts.scheme}://{parts.netloc}{buckets}"


def _policy(media: str, images: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob: {media} {images}",
            f"media-src 'self' data: blob: {media}",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )
