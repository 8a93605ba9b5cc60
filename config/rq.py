"""The settings of `rq worker -c config.rq`. The URL may contain a password, so it is not on the command line."""

from __future__ import annotations

from pipeline.settings import load

REDIS_URL = load().redis_url
