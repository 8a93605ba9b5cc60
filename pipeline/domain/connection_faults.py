"""Why a server could not be reached: TLS, DNS, a closed port, no route. Pure. The only place with these words.

Every client library wraps the error of the socket in errors of its own. The first one in the chain that is known here
names the cause.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_CLOCK = "If it is valid, set the clock of this machine (NTP)."
_OTHER_HOST_ERROR = "CertificateError"
"""Of urllib3, where it compares the names itself: boto3 makes it do so."""
_NO_TLS_REASONS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
_CLOSED_REASONS = {"UNEXPECTED_EOF_WHILE_READING"}
_VERSION_REASONS = {
    "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "NO_SHARED_CIPHER",
    "SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INSUFFICIENT_SECURITY", "DH_KEY_TOO_SMALL",
}  # fmt: skip
_CLIENT_CERTIFICATE_REASONS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_UNKNOWN_CA",
}  # fmt: skip
"""`reason` of ssl.SSLError, as OpenSSL names them."""


@dataclass(frozen=True)
class Peer:
    """A server, for messages. `setting`: of its address; `plain` and `tls`: how the address begins.

    `trust`: how to make this machine accept its certificate. `client_certificate`: how to send one.
    """

    setting: str
    trust: str
    plain: str = "http://"
    tls: str = "https://"
    client_certificate: str = "Use a server, or a port, that requires none."


@dataclass(frozen=True)
class Fault:
    """Why there was no answer. `what`: a clause; "HOST does not answer: …" can precede it."""

    what: str
    _fix: Callable[[Peer], str]

    def fix(self, peer: Peer) -> str:
        """Return what to do, as sentences."""
        return self._fix(peer)


_NOT_YET_VALID = Fault("its TLS certificate is not valid yet", lambda peer: f"Correct the certificate. {_CLOCK}")
_EXPIRED = Fault(
    "its TLS certificate has expired", lambda peer: f"Renew the certificate, and let the server load it. {_CLOCK}"
)
_SELF_SIGNED = Fault("its TLS certificate is self-signed", lambda peer: peer.trust)
_NO_ISSUER = Fault(
    "its TLS certificate is not of an authority that this machine trusts",
    lambda peer: f"{peer.trust} If the authority is a public one, let the server send the intermediate certificates.",
)
_OTHER_HOST = Fault(
    "its TLS certificate is for another host",
    lambda peer: f"Write a host of the certificate in {peer.setting}, or use a certificate for this host.",
)
_CERTIFICATE_FAULTS = {
    9: _NOT_YET_VALID, 10: _EXPIRED, 18: _SELF_SIGNED, 19: _NO_ISSUER, 20: _NO_ISSUER, 21: _NO_ISSUER,
    62: _OTHER_HOST, 63: _OTHER_HOST, 64: _OTHER_HOST,
}  # fmt: skip
"""Error of OpenSSL (X509_V_ERR_…) → fault."""
_NO_TLS = Fault(
    "there is no TLS at this port",
    lambda peer: f"Let the server use TLS there, or write {peer.plain} or another port in {peer.setting}.",
)
_NO_HANDSHAKE = Fault(
    "it does not complete the TLS handshake",
    lambda peer: f"If the port has no TLS, write {peer.plain} in {peer.setting}. If it has, read the server's log.",
)
_NO_VERSION = Fault(
    "it has no version of TLS and no cipher in common with this machine",
    lambda peer: "Let the server offer TLS 1.2 or newer.",
)
_CLIENT_CERTIFICATE = Fault("it refuses the TLS certificate of the client", lambda peer: peer.client_certificate)
_NO_CERTIFICATES = Fault("the file with the certificates to trust cannot be read", lambda peer: peer.trust)
_UNKNOWN_HOST = Fault(
    "DNS has no record of the host", lambda peer: f"Create its DNS record, or correct {peer.setting}."
)
CLOSED_PORT = Fault(
    "it refuses the connection", lambda peer: f"Start the server, or correct host and port in {peer.setting}."
)
_NO_ROUTE = Fault(
    "there is no route to it from this machine", lambda peer: f"Check the network, and the address in {peer.setting}."
)


def fault_of(error: BaseException) -> Fault | None:
    """Return why a server could not be reached; None if `error` has another reason."""
    chain = list(errors_of(error))
    return next((fault for one in chain if (fault := _fault(one))), None)


def reason_of(error: BaseException) -> str:
    """Return why a server could not be reached as a clause: the name of the error if it is not known."""
    fault = fault_of(error)
    return fault.what if fault else type(error).__name__


def is_hung_up(error: BaseException) -> bool:
    """Return whether the server closed the connection without an answer, as one that expects TLS does."""
    return any(isinstance(one, ConnectionResetError | BrokenPipeError) for one in errors_of(error))


def plain_hint(peer: Peer) -> str:
    """Return what to do if a server without TLS in its address hangs up."""
    return f"If the port expects TLS, write {peer.tls} in {peer.setting}."


def errors_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that it was raised for."""
    found: list[BaseException] = [error]
    for one in found:
        inner = [one.__cause__, one.__context__, *one.args, getattr(one, "reason", None)]
        found.extend(each for each in inner if isinstance(each, BaseException) and each not in found)
        yield one


def _fault(error: BaseException) -> Fault | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        # OpenSSL sets both, and an error that a library makes has neither.
        message = getattr(error, "verify_message", "no reason")
        other = Fault(f"its TLS certificate is not valid: {message}", lambda peer: "Correct the certificate.")
        return _CERTIFICATE_FAULTS.get(getattr(error, "verify_code", 0), other)
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error)
    if type(error).__name__ == _OTHER_HOST_ERROR:
        return _OTHER_HOST
    if isinstance(error, TimeoutError):
        return _NO_HANDSHAKE if "handshake" in str(error) else None
    if isinstance(error, socket.gaierror):
        return _UNKNOWN_HOST
    if isinstance(error, FileNotFoundError | PermissionError):
        return _NO_CERTIFICATES
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED:
        return CLOSED_PORT
    return _NO_ROUTE if number in (errno.ENETUNREACH, errno.EHOSTUNREACH) else None


def _tls_fault(error: ssl.SSLError) -> Fault:
    reason = str(getattr(error, "reason", None) or "")
    if reason in _NO_TLS_REASONS:
        return _NO_TLS
    if reason in _CLOSED_REASONS or isinstance(error, ssl.SSLEOFError):
        return _NO_HANDSHAKE
    if reason in _VERSION_REASONS:
        return _NO_VERSION
    if reason in _CLIENT_CERTIFICATE_REASONS:
        return _CLIENT_CERTIFICATE
    name = reason.lower().replace("_", " ") or "no reason"
    return Fault(f"TLS fails ({name})", lambda peer: f"Check TLS of the server, and {peer.setting}.")
