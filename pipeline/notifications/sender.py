"""Sends what notices.py words: to public https addresses, or to what PIPELINE_FETCH_HOSTS names."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from pipeline.domain.model import BatchRow
from pipeline.errors import NotificationFailed
from pipeline.net.allowlist import AllowList
from pipeline.net.guarded_http import AddressRefused, GuardedHttp
from pipeline.notifications.message import is_slack, keys_of, message
from pipeline.settings import Settings

RETRY_AFTER_S = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000)
"""How long to wait after each try that failed; after the last one it is given up."""
_TIMEOUT = urllib3.Timeout(connect=5, read=15)


class NotificationSender:
    """Tells addresses that batches have ended. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        notify = settings.notify_secret.get_secret_value() if settings.notify_secret else ""
        self._keys = keys_of(notify, settings.secret.get_secret_value())
        self._allowed = AllowList(settings.fetch_hosts)
        self._public = GuardedHttp(private=False)
        self._private = GuardedHttp(private=True)

    def send(self, url: str, row: BatchRow, results: str) -> None:
        """Tell `url` that the batch has ended. Raises NotificationFailed.

        What it says names the host alone: the rest of such an address is often a secret.
        """
        host = urlsplit(url).hostname or "the address"
        if not self._keys and not is_slack(url):
            raise NotificationFailed("Nothing signs it: set PIPELINE_NOTIFY_SECRET or PIPELINE_SECRET.", retryable=True)
        connections = self._check_url(url, host)
        sent = message(url, row, results, self._keys, datetime.now(UTC))
        try:
            answer = connections.request(
                "POST",
                url,
                body=sent.body,
                headers={**sent.headers, "User-Agent": "dailies"},
                timeout=_TIMEOUT,
            )
            # The status is all of interest.
            answer.close()
        except AddressRefused:
            raise NotificationFailed(f"{host} has no public address.", retryable=False) from None
        except HTTPError as error:
            raise NotificationFailed(f"{host} does not answer: {type(error).__name__}.", retryable=True) from None
        if not 200 <= answer.status < 300:
            # 410 Gone: whoever was there wants no more of it.
            raise NotificationFailed(f"{host} answers HTTP {answer.status}.", retryable=answer.status != 410)

    def _check_url(self, url: str, host: str) -> GuardedHttp:
        """The connections that `url` may be reached by."""
        permission = self._allowed.check(url)
        if not isinstance(permission, str):
            return self._private if permission.private else self._public
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.username is not None:
            why = f"{host} is told over https only, unless PIPELINE_FETCH_HOSTS names it."
            raise NotificationFailed(why, retryable=False)
        return self._public
