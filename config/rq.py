"""The settings of `rq worker -c config.rq`. The URL may contain a password, so it is not on the command line."""

from __future__ import annotations

from pipeline.errors import exit_in_words
from pipeline.ledger.redis_url import check_url
from pipeline.observability import logging
from pipeline.settings import load

# Before RQ adds handlers of its own: its lines become events of ours.
logging.configure()
with exit_in_words():
    REDIS_URL = load().redis_url
    check_url(REDIS_URL)
