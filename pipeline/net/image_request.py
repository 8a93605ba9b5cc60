"""What an image's URL returns: the first bytes of a GET. A HEAD would only show a type, which can be wrong.

Anyone may write the URL, so `guarded_http` checks each address that is connected to, also after a redirect.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError

from pipeline.domain.connection_faults import reason_of
from pipeline.domain.image_types import SIGNATURE_BYTES
from pipeline.domain.web_address import InvalidAddress, parse, redirected
from pipeline.net.allowlist import AllowList, Permission
from pipeline.net.guarded_http import AddressRefused, GuardedHttp, HostUnknown

MAX_S = 20.0
"""Seconds for an image, with its redirects. A request that has begun may take its own timeout longer."""
_TIMEOUT = urllib3.Timeout(connect=5, read=10)
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class ImageResponse:
    """The response for an image. `url`: after redirects. `size`: of the image in bytes, None if unknown."""

    status: int
    url: str
    content_type: str
    size: int | None
    head: bytes
    """The first bytes."""


class NoImageResponse(Exception):
    """No response came. The message is the end of a sentence, and does not describe the image itself."""


class ImageRequests:
    """Requests images. Thread-safe. `allowed_hosts`: as in PIPELINE_FETCH_HOSTS, which may name private addresses."""

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self._allowed = AllowList(allowed_hosts)
        self._public = GuardedHttp(private=False)
        self._private = GuardedHttp(private=True)

    def fetch(self, url: str) -> ImageResponse:
        """Return the response for an `http(s)://` URL. Raises NoImageResponse."""
        deadline = time.monotonic() + MAX_S
        for _ in range(_MAX_REDIRECTS + 1):
            if time.monotonic() > deadline:
                raise NoImageResponse(f"did not answer within {MAX_S:.0f} s")
            response = self._send(url)
            location = response.headers.get("Location") if response.status in _REDIRECTS else None
            if not location:
                return _read(url, response, deadline)
            response.close()
            url = redirected(url, location)
        return ImageResponse(response.status, url, "", None, b"")

    def _send(self, url: str) -> urllib3.BaseHTTPResponse:
        permission = self._allowed.check(url)
        http = self._private if isinstance(permission, Permission) and permission.private else self._public
        headers = {
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
            "Range": f"bytes=0-{SIGNATURE_BYTES - 1}",
        }
        try:
            return http.request("GET", url, headers=headers, timeout=_TIMEOUT, host=parse(url).host)
        except InvalidAddress as error:
            raise NoImageResponse(f"{error}") from None
        except HostUnknown:
            raise NoImageResponse("has a host without an address in DNS") from None
        except AddressRefused:
            raise NoImageResponse("has a host with private addresses only, which PIPELINE_FETCH_HOSTS lacks") from None
        except (HTTPError, ValueError) as error:
            raise NoImageResponse(f"did not answer: {reason_of(error)}") from None


def _read(url: str, response: urllib3.BaseHTTPResponse, deadline: float) -> ImageResponse:
    head = b""
    try:
        while len(head) < SIGNATURE_BYTES and time.monotonic() < deadline:
            if not (piece := response.read1(SIGNATURE_BYTES - len(head))):
                break
            head += piece
    except (HTTPError, OSError) as error:
        raise NoImageResponse(f"broke off: {type(error).__name__}") from None
    finally:
        # The rest of a server that ignores Range is not read.
        response.close()
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return ImageResponse(response.status, url, content_type, _size(response), head)


def _size(response: urllib3.BaseHTTPResponse) -> int | None:
    """Return the size of the whole image."""
    header = "Content-Range" if response.status == 206 else "Content-Length"
    text = response.headers.get(header, "").rpartition("/")[2]
    return int(text) if text.isdecimal() else None
