"""Guarded, streaming downloads of outputs.

Where an output lies is told by the vendor, so it is judged: host by the allow-list, every redirect again, and the
address at the moment the socket opens, so that no name can change its meaning in between. Nothing is whole in
memory; what came is counted, hashed and compared with what was announced.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError

from pipeline.errors import CopyFailed, OutputGone
from pipeline.net.allowlist import AllowList, Permission
from pipeline.net.guarded_http import AddressRefused, pool

GRACE_S = 30.0
MIN_BYTES_PER_S = 4096
"""A download slower than this on the average, once GRACE_S have passed, is given up."""
MAX_S = 3600.0
"""No download takes longer than this."""
_MAX_REDIRECTS = 5
_ANY_TYPE = {"", "application/octet-stream", "binary/octet-stream"}


class Downloader:
    """Opens outputs for reading. Thread-safe, connections are reused."""

    def __init__(self, allowed_hosts: Iterable[str], *, max_bytes: int) -> None:
        self._allowed = AllowList(allowed_hosts)
        self._most_bytes = max_bytes
        self._public = pool(private=False)
        self._private = pool(private=True)

    def open(self, url: str, *, content_type: str, size: int | None) -> Download:
        """Begin to fetch `url`, which the vendor announced as `content_type` and `size` bytes ('' and None: not said).

        Raises CopyFailed; OutputGone when the address does not work (any more).
        """
        for _ in range(_MAX_REDIRECTS + 1):
            permission = self._check_url(url)
            response = self._get(url, permission)
            if response.status not in (301, 302, 303, 307, 308):
                return Download(response, permission.host, content_type, size, self._most_bytes)
            location = response.headers.get("Location", "")
            response.release_conn()
            url = urljoin(url, location)
        raise CopyFailed(f"{permission.host} redirects more than {_MAX_REDIRECTS} times.", retryable=False)

    def _check_url(self, url: str) -> Permission:
        verdict = self._allowed.check(url)
        if isinstance(verdict, str):
            raise CopyFailed(f"The output is not fetched: {verdict}.", retryable=False)
        return verdict

    def _get(self, url: str, permission: Permission) -> urllib3.BaseHTTPResponse:
        connections = self._private if permission.private else self._public
        try:
            return connections.request(
                "GET", url, preload_content=False, redirect=False, headers={"Accept-Encoding": "identity"}
            )
        except AddressRefused as error:
            raise CopyFailed(f"The output is not fetched: {error}", retryable=False) from None
        except HTTPError as error:
            raise CopyFailed(f"{permission.host} does not answer: {type(error).__name__}.", retryable=True) from None


class Download:
    """An output on its way. Read it to its end: the last read raises CopyFailed unless all of it came."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, host: str, content_type: str, size: int | None, max_bytes: int
    ) -> None:
        self._response = response
        self._host = host
        self._sizes = [known for known in (size, _announced(response)) if known]
        self._most_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._began = time.monotonic()
        self.received = 0
        """Bytes read so far."""
        try:
            self._check_status()
            self.content_type = self._agreed_type(content_type)
            self._check_size()
        except CopyFailed:
            self._drop()
            raise

    def __enter__(self) -> Download:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._response.release_conn()
        else:
            self._drop()

    @property
    def sha256(self) -> str:
        """Hex digest of what was read."""
        return self._hash.hexdigest()

    def read(self, amount: int = -1, /) -> bytes:
        """At most `amount` bytes; b'' at the end."""
        try:
            data = self._response.read1(amount if amount > 0 else 65536)
        except (HTTPError, OSError) as error:
            why = f"The connection to {self._host} broke after {self.received:,} bytes: {type(error).__name__}."
            raise CopyFailed(why, retryable=True) from None
        self._hash.update(data)
        self.received += len(data)
        if not data:
            self._check_complete()
        self._check_limits()
        return data

    def _check_status(self) -> None:
        status = self._response.status
        if status == 200:
            return
        if status in (408, 425, 429) or status >= 500:
            raise CopyFailed(f"{self._host} answers HTTP {status}.", retryable=True)
        raise OutputGone(f"{self._host} answers HTTP {status}: the address has expired or never worked.")

    def _agreed_type(self, announced: str) -> str:
        given = self._response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self._response.headers.get("Content-Encoding", "identity") != "identity":
            raise CopyFailed(f"{self._host} sends the output compressed, which nobody asked for.", retryable=True)
        if announced in _ANY_TYPE:
            return given or "application/octet-stream"
        if given not in _ANY_TYPE and given.partition("/")[0] != announced.partition("/")[0]:
            raise CopyFailed(f"{self._host} sends {given} where {announced} was announced.", retryable=True)
        return announced

    def _check_size(self) -> None:
        if len(set(self._sizes)) > 1:
            first, second = self._sizes
            why = f"{self._host} announces {second:,} bytes, the vendor {first:,}."
            raise CopyFailed(why, retryable=True)
        if self._sizes and self._sizes[0] > self._most_bytes:
            raise CopyFailed(_too_large(self._most_bytes), retryable=False)

    def _check_limits(self) -> None:
        if self.received > self._most_bytes:
            raise CopyFailed(_too_large(self._most_bytes), retryable=False)
        if self._sizes and self.received > self._sizes[0]:
            raise CopyFailed(f"{self._host} sends more than the {self._sizes[0]:,} bytes announced.", retryable=True)
        seconds = time.monotonic() - self._began
        if seconds > MAX_S or (seconds > GRACE_S and self.received / seconds < MIN_BYTES_PER_S):
            why = f"{self._host} sends too slowly: {self.received:,} bytes in {seconds:.0f} s."
            raise CopyFailed(why, retryable=True)

    def _check_complete(self) -> None:
        if self._sizes and self.received != self._sizes[0]:
            why = f"{self._host} sent {self.received:,} bytes of {self._sizes[0]:,}."
            raise CopyFailed(why, retryable=True)
        if self.received == 0:
            raise CopyFailed(f"{self._host} sent an empty file.", retryable=True)

    def _drop(self) -> None:
        self._response.close()


def _announced(response: urllib3.BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _too_large(max_bytes: int) -> str:
    return f"The output is larger than {max_bytes / 1e6:,.0f} MB (max_output_mb)."
