"""The web process: API, dashboard and incoming webhooks. Imports: schedules, triggers, batches and below."""

from __future__ import annotations

from pipeline.web.app import create_app

__all__ = ["create_app"]
