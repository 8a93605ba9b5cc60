"""TLS servers with the certificates that people have: valid, expired, of another host, of an unknown authority."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
_DAY = timedelta(days=1)
_PIECE = 65536


@dataclass(frozen=True)
class Authority:
    """A certificate authority. `file`: its certificate, for clients that trust it."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    file: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        name, key = _name("Test authority"), ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, name, key, datetime.now(UTC) + _DAY)
        certificate = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
        file = folder / "authority.pem"
        file.write_bytes(certificate.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return cls(name, key, file)

    def certificate(self, kind: str, folder: Path) -> Path:
        """Return the file of a certificate with its key. `kind`: `valid`, `expired`, `other host` or `self-signed`."""
        key, name = ec.generate_private_key(ec.SECP256R1()), _name(kind)
        issuer, signer = (name, key) if kind == "self-signed" else (self.name, self.key)
        host: x509.GeneralName = x509.IPAddress(ip_address(HOST))
        if kind == "other host":
            host = x509.DNSName("other.example.com")
        until = datetime.now(UTC) + (-_DAY if kind == "expired" else _DAY)
        certificate = (
            _builder(name, issuer, key, until)
            .add_extension(x509.SubjectAlternativeName([host]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        file = folder / f"{kind}.pem"
        file.write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return file


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
) -> x509.CertificateBuilder:
    number = x509.random_serial_number()
    return x509.CertificateBuilder(issuer, name, key.public_key(), number, until - 9 * _DAY, until)


@contextmanager
def tls_in_front_of(target: tuple[str, int] | None, certificate: Path) -> Iterator[int]:
    """Serve TLS on a port of 127.0.0.1 and pass the bytes on to `target`; None: close. Yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server((HOST, 0)) as listening:
        threading.Thread(target=_accept, args=(listening, context, target), daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, context: ssl.SSLContext, target: tuple[str, int] | None) -> None:
    with suppress(OSError):
        while True:
            accepted, _ = listening.accept()
            threading.Thread(target=_serve, args=(accepted, context, target), daemon=True).start()


def _serve(accepted: socket.socket, context: ssl.SSLContext, target: tuple[str, int] | None) -> None:
    with ExitStack() as stack, suppress(OSError):
        stack.enter_context(accepted)
        client = stack.enter_context(context.wrap_socket(accepted, server_side=True))
        if target is None:
            return
        server = stack.enter_context(socket.create_connection(target))
        back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
        back.start()
        _pass_on(client, server)
        back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
