"""The settings of `rq worker -c config.rq`. The URL may contain a password, so it is not on the command line."""

from __future__ import annotations

from pipeline.observability import logging
from pipeline.settings import load

# Before RQ adds handlers of its own: its lines become events of ours.
logging.configure()
REDIS_URL = load().redis_url
