"""Guarded, streaming downloads of outputs.

The vendor names the URL of an output, so the URL is not trusted: the allow-list checks its host, also after each
redirect, and `guarded_http` checks the address. Bytes are streamed, counted, hashed and compared with the announced
size.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from types import TracebackType

import urllib3
from urllib3.exceptions import HTTPError

from pipeline.domain.connection_faults import reason_of
from pipeline.domain.image_types import SIGNATURE_BYTES
from pipeline.domain.media_signatures import is_format, sniff_media
from pipeline.domain.web_address import InvalidAddress, parse, redirected
from pipeline.errors import CopyFailed, OutputGone
from pipeline.net.allowlist import AllowList, Permission
from pipeline.net.guarded_http import AddressRefused, GuardedHttp

GRACE_S = 30.0
MIN_BYTES_PER_S = 4096
"""A download whose average speed is below this after GRACE_S fails."""
MAX_S = 3600.0
"""A download that takes longer than this fails."""
_MAX_REDIRECTS = 5
_READ_BYTES = 64 * 1024
_NO_ENCODINGS = {"", "identity", "aws-chunked", "binary", "none"}
"""Values of Content-Encoding that change no bytes. Some S3 servers store that a client sent the object in chunks."""
_NOT_FETCHED = "The output is not fetched: {}. Correct PIPELINE_FETCH_HOSTS if it should be."


class Downloader:
    """Opens outputs for reading. Thread-safe; connections are reused.

    `any_public`: other hosts than `allowed_hosts` may be read too, at public addresses.
    """

    def __init__(self, allowed_hosts: Iterable[str], *, max_bytes: int, any_public: bool = False) -> None:
        self._allowed = AllowList(allowed_hosts)
        self._any_public = any_public
        self._max_bytes = max_bytes
        self._public = GuardedHttp(private=False)
        self._private = GuardedHttp(private=True)

    def open(self, url: str, *, size: int | None = None) -> Download:
        """Start to download `url`. `size`: in bytes as the vendor announced it, None if it did not.

        Raises CopyFailed; OutputGone if the URL has expired or never worked.
        """
        for redirects in range(_MAX_REDIRECTS + 1):
            # A redirect to elsewhere may be to the page of a failure that passes.
            permission = self._check_url(url, is_redirected=redirects > 0)
            response = self._get(url, permission)
            if response.status not in (301, 302, 303, 307, 308):
                return Download(response, permission.host, size, self._max_bytes)
            location = response.headers.get("Location", "")
            response.release_conn()
            url = redirected(url, location)
        raise CopyFailed(f"{permission.host} redirects more than {_MAX_REDIRECTS} times.", retryable=True)

    def _check_url(self, url: str, *, is_redirected: bool) -> Permission:
        permission = self._allowed.check(url)
        if isinstance(permission, str) and self._any_public:
            permission = _public_permission(url)
        if isinstance(permission, str):
            raise CopyFailed(_NOT_FETCHED.format(permission), retryable=is_redirected)
        return permission

    def _get(self, url: str, permission: Permission) -> urllib3.BaseHTTPResponse:
        http = self._private if permission.private else self._public
        try:
            return http.request("GET", url, headers={"Accept-Encoding": "identity"}, host=permission.host)
        except AddressRefused as error:
            raise CopyFailed(_NOT_FETCHED.format(str(error).rstrip(".")), retryable=False) from None
        except HTTPError as error:
            raise CopyFailed(f"{permission.host} does not answer: {reason_of(error)}.", retryable=True) from None


class Download:
    """An open download. Read it to its end: the last read raises CopyFailed if the output is not complete."""

    def __init__(self, response: urllib3.BaseHTTPResponse, host: str, size: int | None, max_bytes: int) -> None:
        self._response = response
        self.host = host
        self._sizes = [announced for announced in (size, _content_length(response)) if announced]
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._started = time.monotonic()
        self._head = b""
        self.sent_type = response.headers.get("Content-Type", "")
        """The media type that the server sends. It can be wrong."""
        self.received = 0
        """Bytes received so far."""
        try:
            self._check_status()
            self._check_announced_size()
            self._check_encoding()
        except CopyFailed:
            self._response.close()
            raise

    def __enter__(self) -> Download:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._response.release_conn()
        else:
            self._response.close()

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes received so far."""
        return self._hash.hexdigest()

    def head(self) -> bytes:
        """Return the first SIGNATURE_BYTES, before anything is read; `read` returns them again. Raises CopyFailed."""
        while len(self._head) < SIGNATURE_BYTES and (data := self._receive(SIGNATURE_BYTES - len(self._head))):
            self._head += data
        return self._head

    def read(self, amount: int = -1, /) -> bytes:
        """Return at most `amount` bytes, b'' at the end. Raises CopyFailed."""
        if not self._head:
            return self._receive(amount if amount > 0 else _READ_BYTES)
        count = amount if amount > 0 else len(self._head)
        data, self._head = self._head[:count], self._head[count:]
        return data

    def _receive(self, amount: int) -> bytes:
        try:
            data = self._response.read1(amount, decode_content=False)
        except (HTTPError, OSError) as error:
            reason = f"The connection to {self.host} broke after {self.received:,} bytes: {type(error).__name__}."
            raise CopyFailed(reason, retryable=True) from None
        self._hash.update(data)
        self.received += len(data)
        if not data:
            self._check_complete()
        self._check_limits()
        return data

    def _check_status(self) -> None:
        status = self._response.status
        # 203: a proxy on the way has changed something. What it is shows in the bytes.
        if status in (200, 203) or (status == 206 and _is_whole(self._response)):
            return
        if status < 300:
            raise CopyFailed(f"{self.host} answers HTTP {status} without the whole output.", retryable=True)
        if status in (408, 425, 429) or status >= 500:
            raise CopyFailed(f"{self.host} answers HTTP {status}.", retryable=True)
        raise OutputGone(f"{self.host} answers HTTP {status}: the URL has expired or never worked.")

    def _check_encoding(self) -> None:
        """Raise CopyFailed if the bytes are encoded. Those of a known format are not, with any header."""
        names = self._response.headers.get("Content-Encoding", "").lower().split(",")
        encodings = {name.strip() for name in names} - _NO_ENCODINGS
        if encodings and not is_format(sniff_media(self.head())):
            raise CopyFailed(f"{self.host} sends a compressed output against Accept-Encoding.", retryable=True)

    def _check_announced_size(self) -> None:
        if len(set(self._sizes)) > 1:
            vendor, host = self._sizes
            reason = f"{self.host} announces {host:,} bytes, the vendor {vendor:,}."
            raise CopyFailed(reason, retryable=True)
        if self._sizes and self._sizes[0] > self._max_bytes:
            raise self._too_large()

    def _check_limits(self) -> None:
        if self.received > self._max_bytes:
            raise self._too_large()
        if self._sizes and self.received > self._sizes[0]:
            raise CopyFailed(f"{self.host} sends more than the announced {self._sizes[0]:,} bytes.", retryable=True)
        seconds = time.monotonic() - self._started
        if seconds > MAX_S or (seconds > GRACE_S and self.received / seconds < MIN_BYTES_PER_S):
            reason = f"{self.host} sends too slowly: {self.received:,} bytes in {seconds:.0f} s."
            raise CopyFailed(reason, retryable=True)

    def _check_complete(self) -> None:
        if self._sizes and self.received != self._sizes[0]:
            reason = f"{self.host} sent {self.received:,} bytes of {self._sizes[0]:,}."
            raise CopyFailed(reason, retryable=True)
        if self.received == 0:
            raise CopyFailed(f"{self.host} sent an empty file.", retryable=True)

    def _too_large(self) -> CopyFailed:
        limit = f"{self._max_bytes / 1e6:,.0f} MB"
        return CopyFailed(f"The output is larger than {limit}. Raise max_output_mb to copy it.", retryable=False)


def _public_permission(url: str) -> Permission | str:
    try:
        return Permission(parse(url).host, private=False)
    except InvalidAddress as error:
        return f"its URL {error}"


def _is_whole(response: urllib3.BaseHTTPResponse) -> bool:
    """Return whether a partial response has all bytes, although no part was requested."""
    match = re.fullmatch(r"bytes 0-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
    return match is not None and int(match[1]) + 1 == int(match[2])


def _content_length(response: urllib3.BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None
