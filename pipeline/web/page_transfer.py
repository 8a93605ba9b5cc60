"""How pages and documents are sent: compressed, and not again if the browser has them already."""

from __future__ import annotations

import hashlib

from flask import Flask, Response, request
from flask_compress import Compress

from pipeline.web.security.authentication import without_csrf_mask

_COMPRESSED = ["text/html", "text/css", "text/javascript", "application/json", "image/svg+xml"]
"""Media types. Event streams are not among them: a compressor would hold events back."""
_DIGEST_BYTES = 16


def compress_and_revalidate(app: Flask) -> None:
    """Compress responses of `app`, and answer 304 to a browser that has the same page.

    Nothing secret that stays the same may be in a compressed page beside text of the request, because the sizes would
    reveal it (BREACH): the CSRF token has another mask in each response.
    """
    app.config["COMPRESS_MIMETYPES"] = _COMPRESSED
    Compress(app)
    # Registered last, so it runs first: on the page that is not compressed yet.
    app.after_request(_revalidate)


def _revalidate(response: Response) -> Response:
    is_page = response.mimetype == "text/html" and not response.is_streamed
    if request.method != "GET" or response.status_code != 200 or not is_page:
        return response
    digest = hashlib.blake2b(without_csrf_mask(response.get_data()), digest_size=_DIGEST_BYTES).hexdigest()
    response.set_etag(digest, weak=True)
    response.make_conditional(request)
    return response
