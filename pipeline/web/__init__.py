"""The web side of the service: `create_app` is what gunicorn serves."""

from __future__ import annotations

from pipeline.web.app import create_app

__all__ = ["create_app"]
