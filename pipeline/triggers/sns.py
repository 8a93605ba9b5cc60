"""SNS messages over HTTP: verification of their signature, and confirmation of subscriptions.

SNS signs messages for any AWS account. The caller must also check that the topic is one of its own.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from pipeline.domain.web_address import InvalidAddress, WebAddress, parse
from pipeline.errors import CopyFailed, DailiesError, Unreachable
from pipeline.net.download import Downloader

Fetch = Callable[[str], bytes]
"""Returns the content of an https URL of SNS. Raises NotFetched."""

TYPES = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")
_HOST = re.compile(r"sns\.[a-z0-9-]{1,32}\.amazonaws\.com(\.cn)?")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9a-f]{32}\.pem")
_HASHES: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303  # version 1 is what SNS sends by default
_SIGNED_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_MAX_BYTES = 64 * 1024
_MAX_CERTIFICATES = 16


class NotSigned(DailiesError):
    """SNS did not sign the message."""


class NotFetched(Unreachable):
    """SNS did not respond."""


def fetch(url: str) -> bytes:
    """Return the content of an https URL of SNS, with limits on time, size and address. Raises NotFetched."""
    try:
        with Downloader((parse(url).host,), max_bytes=_MAX_BYTES).open(url) as download:
            return b"".join(iter(lambda: download.read(_MAX_BYTES), b""))
    except (CopyFailed, InvalidAddress) as error:
        raise NotFetched(f"SNS did not respond: {error}") from None


class Verifier:
    """Verifies SNS messages. Thread-safe; certificates are cached."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._certificates: dict[str, x509.Certificate] = {}
        self._lock = threading.Lock()

    def verify(self, message: Mapping[str, Any]) -> None:
        """Raise NotSigned unless SNS signed `message`, NotFetched if the certificate is unavailable."""
        algorithm = _HASHES.get(str(message.get("SignatureVersion")))
        if algorithm is None:
            raise NotSigned("The message has no signature of version 1 or 2.")
        try:
            signature = base64.b64decode(_text(message, "Signature"), validate=True)
        except (binascii.Error, ValueError):
            raise NotSigned("The signature is not base64.") from None
        key = self._certificate(_text(message, "SigningCertURL")).public_key()
        if not isinstance(key, RSAPublicKey):
            raise NotSigned("The certificate has no RSA key.")
        try:
            key.verify(signature, _string_to_sign(message), PKCS1v15(), algorithm)
        except InvalidSignature:
            raise NotSigned("The signature does not match the message.") from None

    def confirm(self, message: Mapping[str, Any]) -> None:
        """Confirm the subscription of a verified message. Raises NotSigned, NotFetched."""
        url = _text(message, "SubscribeURL")
        if parse_qs(_address(url).query).get("Action") != ["ConfirmSubscription"]:
            raise NotSigned("The SubscribeURL does not confirm a subscription.")
        self._fetch(url)

    def _certificate(self, url: str) -> x509.Certificate:
        if not _CERTIFICATE_PATH.fullmatch(_address(url).rest):
            raise NotSigned("The SigningCertURL is not the address of an SNS certificate.")
        with self._lock:
            cached = self._certificates.get(url)
        return _valid_now(cached or self._load(url))

    def _load(self, url: str) -> x509.Certificate:
        try:
            certificate = x509.load_pem_x509_certificate(self._fetch(url))
        except ValueError:
            raise NotSigned("The content of the SigningCertURL is not a certificate.") from None
        with self._lock:
            if len(self._certificates) >= _MAX_CERTIFICATES:
                self._certificates.pop(next(iter(self._certificates)))
            self._certificates[url] = certificate
        return certificate


def _address(url: str) -> WebAddress:
    """Return an address of SNS. Raises NotSigned for any other one."""
    with suppress(InvalidAddress):
        address = parse(url)
        if (address.scheme, address.port) == ("https", 443) and _HOST.fullmatch(address.host):
            return address
    raise NotSigned("The message has an address that does not belong to SNS.")


def _valid_now(certificate: x509.Certificate) -> x509.Certificate:
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise NotSigned("The certificate of the signature has expired or is not valid yet.")
    return certificate


def _string_to_sign(message: Mapping[str, Any]) -> bytes:
    kind = message.get("Type")
    if kind not in TYPES:
        raise NotSigned("The message has a type that SNS does not send.")
    names = _SIGNED_NOTIFICATION if kind == "Notification" else _SIGNED_CONFIRMATION
    signed = [name for name in names if name != "Subject" or message.get(name) is not None]
    return "".join(f"{name}\n{_text(message, name)}\n" for name in signed).encode("utf-8", "surrogatepass")


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise NotSigned(f"The message has no {name!r}.")
    return value
