"""A job that does nothing but say when it began."""

from __future__ import annotations

import os
import time

from redis import Redis

_REDIS = Redis.from_url(os.environ["REDIS_URL"])


def started() -> None:
    """Tell the time."""
    _REDIS.lpush("bench:started", time.time())
