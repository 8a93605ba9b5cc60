"""Signatures of SNS, with a test certificate in place of Amazon's."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pipeline.triggers.sns import NotFetched, NotSigned, Verifier

RECORDED = Path(__file__).parent.parent / "data" / "events"
KEY = rsa.generate_private_key(65537, 2048)
FIELDS = ("Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type")


def a_certificate(days: int = 1) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    ends = datetime.now(UTC) + timedelta(days=days)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(ends - timedelta(days=9)).not_valid_after(ends)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


class Amazon:
    """Responds as SNS does, and records the requested URLs."""

    def __init__(self, certificate: bytes | None = None) -> None:
        self.certificate = certificate or a_certificate()
        self.requested: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.requested.append(url)
        return self.certificate if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"


def signed(name: str, version: str = "2", **changes: Any) -> dict[str, Any]:
    """A recorded message as SNS would sign it; `changes` are made before."""
    message = {**json.loads((RECORDED / f"{name}.json").read_text()), "SignatureVersion": version, **changes}
    text = "".join(f"{field}\n{message[field]}\n" for field in FIELDS if field in message)
    signature = KEY.sign(text.encode(), PKCS1v15(), SHA1() if version == "1" else SHA256())
    return {**message, "Signature": base64.b64encode(signature).decode()}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("name", ["sns_notification", "sns_confirmation"])
def test_a_message_that_sns_signed_is_accepted(name: str, version: str) -> None:
    amazon = Amazon()
    verifier = Verifier(amazon.fetch)
    verifier.verify(signed(name, version))
    verifier.verify(signed(name, version))
    assert len(amazon.requested) == 1


def test_a_notification_without_a_subject_is_accepted() -> None:
    message = json.loads((RECORDED / "sns_notification.json").read_text())
    del message["Subject"]
    text = "".join(f"{field}\n{message[field]}\n" for field in FIELDS if field in message)
    message |= {
        "SignatureVersion": "2",
        "Signature": base64.b64encode(KEY.sign(text.encode(), PKCS1v15(), SHA256())).decode(),
    }
    Verifier(Amazon().fetch).verify(message)


@pytest.mark.parametrize("field", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Signature"])
def test_a_changed_field_is_refused(field: str) -> None:
    message = signed("sns_notification")
    with pytest.raises(NotSigned):
        Verifier(Amazon().fetch).verify({**message, field: message[field] + "A"})


@pytest.mark.parametrize(
    "changes",
    [
        {"SignatureVersion": "3"},
        {"SignatureVersion": None},
        {"Signature": "not base64"},
        {"Signature": 7},
        {"Signature": None},
        {"Message": None},
        {"SigningCertURL": None},
    ],
)
def test_missing_and_invalid_fields_are_refused(changes: Mapping[str, Any]) -> None:
    with pytest.raises(NotSigned):
        Verifier(Amazon().fetch).verify({**signed("sns_notification"), **changes})


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "https://evil.s3.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "https://sns.eu-central-1.amazonaws.com/?Action=GetCertificate",
        "https://sns.eu-central-1.amazonaws.com/evil.pem",
        r"https://evil.example\.sns.eu-central-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem?x=1",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem#x",
        "https://[::1",
        "file:///etc/passwd",
    ],
)
def test_a_certificate_of_another_host_is_not_fetched(url: str) -> None:
    amazon = Amazon()
    with pytest.raises(NotSigned):
        Verifier(amazon.fetch).verify({**signed("sns_notification"), "SigningCertURL": url})
    assert amazon.requested == []


def test_an_expired_certificate_is_refused() -> None:
    with pytest.raises(NotSigned, match="has expired"):
        Verifier(Amazon(a_certificate(days=-1)).fetch).verify(signed("sns_notification"))


def test_an_invalid_certificate_is_refused_and_not_cached() -> None:
    amazon = Amazon(b"<html>")
    verifier = Verifier(amazon.fetch)
    for _ in range(2):
        with pytest.raises(NotSigned, match="not a certificate"):
            verifier.verify(signed("sns_notification"))
    assert len(amazon.requested) == 2


def test_while_sns_is_unavailable_verification_fails_with_a_retryable_error() -> None:
    def unavailable(url: str) -> bytes:
        raise NotFetched("SNS did not respond")

    with pytest.raises(NotFetched):
        Verifier(unavailable).verify(signed("sns_notification"))


def test_a_subscription_is_confirmed_at_sns() -> None:
    amazon = Amazon()
    Verifier(amazon.fetch).confirm(signed("sns_confirmation"))
    assert amazon.requested == [signed("sns_confirmation")["SubscribeURL"]]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription",
        "http://169.254.169.254/latest/meta-data/",
        "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
    ],
)
def test_a_subscription_is_confirmed_only_at_sns(url: str) -> None:
    amazon = Amazon()
    with pytest.raises(NotSigned):
        Verifier(amazon.fetch).confirm(signed("sns_confirmation", SubscribeURL=url))
    assert amazon.requested == []
