"""Where the pages of the service are, for commands that print or open them."""

from __future__ import annotations

from urllib.parse import quote

from pipeline.settings import Settings


def dashboard_url(settings: Settings, batch_id: str | None = None) -> str | None:
    """Return the address of the dashboard, or of the page of a batch. None if no setting names it."""
    base = settings.dashboard_url or settings.public_url
    if base is None:
        return None
    return f"{base}/batches/{quote(batch_id, safe='')}" if batch_id else f"{base}/"
