"""What `rq worker -c config.rq` and `rq cron -c config.rq` are told. The URL may hold a password: not in a command."""

from __future__ import annotations

from pipeline.settings import load

REDIS_URL = load().redis_url
