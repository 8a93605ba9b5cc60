"""Sends notifications to public https addresses, and to hosts that PIPELINE_FETCH_HOSTS allows."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from pipeline.domain.model import BatchRow
from pipeline.errors import NotificationFailed
from pipeline.net.allowlist import AllowList
from pipeline.net.guarded_http import AddressRefused, GuardedHttp
from pipeline.notifications.signed_message import is_slack, keys_of, message
from pipeline.settings import Settings

RETRY_AFTER_S = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000)
"""Seconds to wait after each failed attempt. After the last one there are no more attempts."""
_TIMEOUT = urllib3.Timeout(connect=5, read=15)


class NotificationSender:
    """Sends the notification that a batch has ended. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        notify = settings.notify_secret.get_secret_value() if settings.notify_secret else ""
        self._keys = keys_of(notify, settings.secret.get_secret_value())
        self._allowed = AllowList(settings.fetch_hosts)
        self._public = GuardedHttp(private=False)
        self._private = GuardedHttp(private=True)

    def send(self, url: str, row: BatchRow, results: str) -> None:
        """Notify `url` that the batch has ended. Raises NotificationFailed.

        Its message has only the host, because the rest of the address is often a secret.
        """
        host = urlsplit(url).hostname or "the address"
        if not self._keys and not is_slack(url):
            raise NotificationFailed(
                "There is no signing key. Set PIPELINE_NOTIFY_SECRET or PIPELINE_SECRET.", retryable=True
            )
        connections = self._pool_for(url, host)
        sent = message(url, row, results, self._keys, datetime.now(UTC))
        try:
            response = connections.request(
                "POST",
                url,
                body=sent.body,
                headers=sent.headers,
                timeout=_TIMEOUT,
            )
            # Only the status is used.
            response.close()
        except AddressRefused:
            raise NotificationFailed(
                f"{host} has no public address. To allow it, add it to PIPELINE_FETCH_HOSTS.", retryable=False
            ) from None
        except HTTPError as error:
            raise NotificationFailed(f"{host} did not respond: {type(error).__name__}.", retryable=True) from None
        if not 200 <= response.status < 300:
            # 410 Gone: the receiver asks for no more notifications.
            raise NotificationFailed(f"{host} responded with HTTP {response.status}.", retryable=response.status != 410)

    def _pool_for(self, url: str, host: str) -> GuardedHttp:
        """Return the connection pool for `url`. Raises NotificationFailed if the address is not allowed."""
        permission = self._allowed.check(url)
        if not isinstance(permission, str):
            return self._private if permission.private else self._public
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.username is not None:
            error = f"{host} must have an https:// address without user name, or be in PIPELINE_FETCH_HOSTS."
            raise NotificationFailed(error, retryable=False)
        return self._public
