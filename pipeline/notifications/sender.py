"""Sends notifications to public https addresses, and to hosts that PIPELINE_NOTIFY_HOSTS allows."""

from __future__ import annotations

from datetime import UTC, datetime

import urllib3
from urllib3.exceptions import HTTPError

from pipeline.domain.connection_faults import reason_of
from pipeline.domain.model import BatchRow
from pipeline.domain.web_address import InvalidAddress, WebAddress, parse
from pipeline.errors import NotificationFailed
from pipeline.net.allowlist import AllowList
from pipeline.net.guarded_http import AddressRefused, GuardedHttp
from pipeline.net.notify_address import SETTING
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
        self._allowed = AllowList(settings.notify_hosts, setting=SETTING)
        self._public = GuardedHttp(private=False)
        self._private = GuardedHttp(private=True)

    def send(self, url: str, row: BatchRow, results: str) -> None:
        """Notify `url` that the batch has ended. Raises NotificationFailed.

        Its message has only the host, because the rest of the address is often a secret.
        """
        try:
            address = parse(url)
        except InvalidAddress as error:
            raise NotificationFailed(f"The address of `notify` {error}.", retryable=False) from None
        host = address.host
        if not self._keys and not is_slack(url):
            raise NotificationFailed(
                "There is no signing key. Set PIPELINE_NOTIFY_SECRET or PIPELINE_SECRET.", retryable=True
            )
        connections = self._pool_for(address)
        sent = message(url, row, results, self._keys, datetime.now(UTC))
        try:
            response = connections.request(
                "POST",
                url,
                body=sent.body,
                headers=sent.headers,
                timeout=_TIMEOUT,
                host=host,
            )
            # Only the status is used.
            response.close()
        except AddressRefused:
            raise NotificationFailed(
                f"{host} has no public address. To allow it, add it to PIPELINE_NOTIFY_HOSTS.", retryable=False
            ) from None
        except HTTPError as error:
            raise NotificationFailed(f"{host} did not respond: {reason_of(error)}.", retryable=True) from None
        if not 200 <= response.status < 300:
            # 410 Gone: the receiver refuses all further notifications.
            raise NotificationFailed(f"{host} responded with HTTP {response.status}.", retryable=response.status != 410)

    def _pool_for(self, address: WebAddress) -> GuardedHttp:
        """Return the connection pool for `address`. Raises NotificationFailed if the address is not allowed."""
        permission = self._allowed.check(str(address))
        if not isinstance(permission, str):
            return self._private if permission.private else self._public
        if address.scheme != "https":
            error = f"{address.host} must have an https:// address, or be in PIPELINE_NOTIFY_HOSTS."
            raise NotificationFailed(error, retryable=False)
        return self._public
