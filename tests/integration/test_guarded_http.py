"""Requests to a checked address keep the host name: in TLS and in the Host header."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from urllib3.exceptions import HTTPError
from werkzeug import Request, Response
from werkzeug.serving import make_server

from pipeline.net.guarded_http import AddressRefused, GuardedHttp

HOST = "cdn.example.com"


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An HTTPS server on 127.0.0.1 with a trusted certificate for HOST. Every host name resolves to it."""
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def application(environ: object, start_response: object) -> object:
        return Response(Request(environ).host)(environ, start_response)  # type: ignore[arg-type]  # WSGI

    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=context)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    resolve_address = socket.getaddrinfo

    def resolve(host: str, *args: Any, **options: Any) -> list[Any]:
        # The first address refuses connections.
        names = ["127.0.0.2", "127.0.0.1"] if host.endswith("example.com") else [host]
        return [entry for name in names for entry in resolve_address(name, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


def write_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file


def test_the_certificate_is_verified_against_the_host_name(port: int) -> None:
    http = GuardedHttp(private=True)
    response = http.request("GET", f"https://{HOST}:{port}/", headers={})
    assert (response.status, response.read()) == (200, f"{HOST}:{port}".encode())
    with pytest.raises(HTTPError, match="CERTIFICATE_VERIFY_FAILED"):
        http.request("GET", f"https://other.example.com:{port}/", headers={})


def test_a_private_address_is_refused_before_a_connection_opens(port: int) -> None:
    with pytest.raises(AddressRefused, match="no public address"):
        GuardedHttp(private=False).request("GET", f"https://{HOST}:{port}/", headers={})
