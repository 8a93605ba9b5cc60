"""Access to API and dashboard."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.doctor.findings import Finding, note, ok
from pipeline.settings import Settings


def check_api_token(settings: Settings) -> Iterator[Finding]:
    """Check that API and dashboard need a token."""
    if settings.api_token is None:
        message = "PIPELINE_API_TOKEN is not set: the web process serves callbacks and health checks only."
        yield note(
            "API", message, "Set PIPELINE_API_TOKEN to a token of 16 characters or more. `dailies up` makes one."
        )
    else:
        yield ok("API", "API and dashboard need the token")
