"""Headers that every answer carries: what a browser may do with it."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from pipeline.settings import Settings


def harden(app: Flask, settings: Settings) -> None:
    """Put the headers on every answer of `app`."""
    fixed = {
        "Content-Security-Policy": _policy(_media_origin(settings), " ".join(picture_origins(settings))),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }

    @app.after_request
    def add(answer: Response) -> Response:
        if request.blueprint == "callbacks": return answer
        for name, value in fixed.items():
            answer.headers.setdefault(name, value)
        answer.headers.setdefault("Cache-Control", "private, no-cache")
        return answer


def _media_origin(settings: Settings) -> str:
    """Where presigned URLs of pictures and videos point."""
    if settings.s3_endpoint is None:
        return "https://*.amazonaws.com"
    parts = urlsplit(settings.s3_endpoint)
    # Servers with a name are asked at bucket.name, too.
    buckets = f" {parts.scheme}://*.{parts.netloc}" if any(map(str.isalpha, parts.hostname or "")) else ""
    return f"{parts.scheme}://{parts.netloc}{buckets}"


def picture_origins(settings: Settings) -> list[str]:
    """Where on the web the pictures of items are shown from: by TLS, or from addresses that are named to be ours."""
    ours = [host for host in settings.fetch_hosts if ":" in host and "*" not in host]
    return ["https:", *(f"http://{host}" for host in ours)]


def _policy(media: str, pictures: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob: {media} {pictures}",
            f"media-src 'self' data: blob: {media}",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )
