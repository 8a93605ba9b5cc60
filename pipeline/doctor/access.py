"""Access to API and dashboard."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.doctor.findings import Finding, note, ok
from pipeline.settings import Settings


def check_api_token(settings: Settings) -> Iterator[Finding]:
    """Check that API and dashboard need a token."""
    if settings.api_token is None or not settings.api_token.get_secret_value():
        message = "PIPELINE_API_TOKEN is not set: API and dashboard serve this machine only."
        yield note("API", message, "Set PIPELINE_API_TOKEN to serve other machines.")
    else:
        yield ok("API", "API and dashboard need the token")
