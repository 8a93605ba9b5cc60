"""`doctor` names what is wrong with TLS, with cause and fix, in the same words for each server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from support.tls_servers import Authority, tls_in_front_of

from pipeline.doctor.findings import Finding, Severity
from pipeline.doctor.public_url import check_public_url
from pipeline.doctor.redis_server import check_redis
from pipeline.doctor.storage import check_bucket
from pipeline.doctor.vendor import check_account
from pipeline.local.servers import S3Env
from pipeline.settings import Settings, load
from pipeline.storage.s3 import Storage

KINDS = ("valid", "expired", "other host", "self-signed")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, Mapping[str, int]]]:
    """A certificate authority, and the port of a server with each kind of certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.create(folder)
    with ExitStack() as stack:
        yield (
            authority,
            {kind: stack.enter_context(tls_in_front_of(None, authority.certificate(kind, folder))) for kind in KINDS},
        )


def redis_url(scheme: str, port: int, authority: Path | None) -> Settings:
    trust = f"?ssl_ca_certs={authority}" if authority and scheme == "https" else ""
    return Settings(redis_url=f"{'rediss' if scheme == 'https' else 'redis'}://127.0.0.1:{port}/0{trust}")


def s3_endpoint(scheme: str, port: int, authority: Path | None) -> Settings:
    return Settings(s3_endpoint=f"{scheme}://127.0.0.1:{port}", output="s3://bucket/")


def api_url(scheme: str, port: int, authority: Path | None) -> Settings:
    return load({**os.environ, "WIRO_API_URL": f"{scheme}://127.0.0.1:{port}/v1", "WIRO_API_KEY": "key"})


def public_url(scheme: str, port: int, authority: Path | None) -> Settings:
    return load({**os.environ, "PIPELINE_PUBLIC_URL": f"{scheme}://127.0.0.1:{port}", "PIPELINE_SECRET": "secret"})


class Server(NamedTuple):
    """A kind of server: its settings, its check, the setting of its address, how it is trusted, its plain scheme."""

    configure: Callable[[str, int, Path | None], Settings]
    check: Callable[[Settings], Iterable[Finding]]
    setting: str
    trust: str
    scheme: str = "http"


SERVERS = {
    "Redis": Server(redis_url, check_redis, "REDIS_URL", "ssl_ca_certs=FILE", "redis"),
    "S3": Server(s3_endpoint, check_bucket, "AWS_ENDPOINT_URL_S3", "Set AWS_CA_BUNDLE"),
    "vendor": Server(api_url, check_account, "WIRO_API_URL", "Set SSL_CERT_FILE"),
    "callbacks": Server(public_url, check_public_url, "PIPELINE_PUBLIC_URL", "a certificate of a public authority"),
}


@pytest.fixture
def plain_port(s3_server: S3Env) -> int:
    """The port of a server without TLS."""
    return int(s3_server.endpoint.rpartition(":")[2])


@pytest.fixture(autouse=True)
def _environment(storage: Storage, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis for the checks that need it, keys of S3, and quick failures."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("WIRO_API_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("pipeline.doctor.vendor._RETRY_DELAYS_S", ())
    monkeypatch.setattr("pipeline.storage.s3._CONFIG", Storage(None, timeout_s=5)._config)


def problem(name: str, scheme: str, port: int, authority: Path | None = None) -> str:
    """Return the one problem that `doctor` finds with this server at this port."""
    server = SERVERS[name]
    [found] = [one for one in server.check(server.configure(scheme, port, authority)) if one.severity is Severity.WRONG]
    return f"{found.message} {found.fix}"


@pytest.mark.parametrize("name", SERVERS)
def test_each_fault_of_a_certificate_is_named_with_its_fix(
    name: str, tls: tuple[Authority, Mapping[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, ports = tls
    trust, setting = SERVERS[name].trust, SERVERS[name].setting
    assert "not of an authority that this machine trusts" in (found := problem(name, "https", ports["valid"]))
    assert trust in found
    assert "its TLS certificate is self-signed" in (found := problem(name, "https", ports["self-signed"]))
    assert trust in found
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    assert "its TLS certificate has expired" in (found := problem(name, "https", ports["expired"], authority.file))
    assert "Renew the certificate" in found
    assert "its TLS certificate is for another host" in (
        found := problem(name, "https", ports["other host"], authority.file)
    )
    assert f"Write a host of the certificate in {setting}" in found


@pytest.mark.parametrize("name", SERVERS)
def test_a_port_without_tls_and_a_port_with_tls_are_told_apart(
    name: str, tls: tuple[Authority, Mapping[str, int]], plain_port: int
) -> None:
    server = SERVERS[name]
    assert "there is no TLS at this port" in (found := problem(name, "https", plain_port))
    assert f"write {server.scheme}:// or another port in {server.setting}" in found
    found = problem(name, "http", tls[1]["valid"])
    assert f"If the port expects TLS, write {server.scheme}s:// in {server.setting}" in found


def test_an_authority_that_is_trusted_is_no_fault(
    tls: tuple[Authority, Mapping[str, int]], s3_server: S3Env, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, _ = tls
    host, _, port = s3_server.endpoint.removeprefix("http://").rpartition(":")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    with tls_in_front_of((host, int(port)), authority.file.with_name("valid.pem")) as secured:
        findings = list(check_bucket(Settings(s3_endpoint=f"https://127.0.0.1:{secured}", output=bucket)))
    assert {one.severity for one in findings} == {Severity.OK}


def test_a_file_of_certificates_that_is_missing_is_named(
    tls: tuple[Authority, Mapping[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    assert "the file with the certificates to trust cannot be read" in problem("S3", "https", tls[1]["valid"])
    assert "the file with the certificates to trust cannot be read" in problem(
        "Redis", "https", tls[1]["valid"], tmp_path / "missing.pem"
    )
