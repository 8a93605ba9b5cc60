"""What other users of this machine, and web pages in a browser, can do with the servers of `up`: nothing."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import stat
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import pytest
from redis import Redis
from support.processes import until

from pipeline.ledger.redis_client import NO_RETRY
from pipeline.ledger.redis_refusals import ServerRefused
from pipeline.local import private_files
from pipeline.local.certificate import write_certificate
from pipeline.local.private_files import NotYours, make_private
from pipeline.local.servers import HOST, S3Env, running_s3, running_valkey, running_vendor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGE = "http://evil.example"
BUCKET = "private"
PLANTED = {"PIPELINE_SECRET": "planted-signing-secret", "PIPELINE_API_TOKEN": "planted-api-token"}
SANDBOX = {"WIRO_API_KEY": "planted-sandbox-key", "WIRO_API_SECRET": "planted-sandbox-secret"}
PATHS = [
    "/", "/private/kept", "/private/?list-type=2", "/private/inbox/new.yaml", "/buckets/private/kept",
    "/buckets/private/inbox/new.yaml", "/dir/assign", "/dir/status", "/dir/lookup?volumeId=1", "/vol/grow?count=1",
    "/vol/status", "/cluster/status", "/submit", "/col/delete?collection=private", "/1,0123456789", "/ui/index.html",
    "/maintenance", "/api/admin", "/metrics", "/debug/pprof/", "/stats/disk", "/v1/Tool/List", "/v1/Task/List",
    "/_sandbox/stats", "/_sandbox/tasks", "/_sandbox/options", "/_sandbox/reset",
]  # fmt: skip
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""With an empty SETTINGS frame. A gRPC server without TLS answers with one of its own."""


@dataclass(frozen=True)
class Local:
    """The embedded servers, and where their data is."""

    folder: Path
    redis_url: str
    s3: S3Env

    def pids(self) -> list[int]:
        """The processes of these servers, without the test's own."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str(self.folder).encode() in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
                    found.append(int(process.name))
        return found

    def ports(self) -> list[int]:
        """Every TCP port on which they listen, see proc(5)."""
        inodes = set()
        for pid in self.pids():
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
        rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()]
        return sorted(int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    folder = tmp_path_factory.mktemp("local")
    for name in ("valkey", "s3", "sandbox"):
        (folder / name).mkdir()
    environment = {**os.environ, **PLANTED, **SANDBOX, "PYTHONPATH": str(Path(__file__).parents[2])}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with (
            running_valkey(folder / "valkey") as redis_url,
            running_s3(folder / "s3", BUCKET) as s3,
            running_vendor(folder / "sandbox", environment),
        ):
            found = Local(folder, redis_url, s3)
            client(s3).put_object(Bucket=BUCKET, Key="kept", Body=b"content")
            yield found


def client(s3: S3Env) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name="us-east-1",
    )


def response(connection: http.client.HTTPConnection, method: str, path: str) -> http.client.HTTPResponse | None:
    """Send a request as a web page does. None: there was no HTTP response."""
    body = b"version: 1" if method in ("PUT", "POST", "PATCH") else None
    try:
        connection.request(method, path, body, {"Origin": PAGE, "Content-Type": "text/plain"})
        found = connection.getresponse()
        found.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return found


def allowed(connection: http.client.HTTPConnection, paths: list[str]) -> Iterator[str]:
    """Yield each request that changes or returns something."""
    for path in paths:
        for method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
            found = response(connection, method, path)
            if found and found.status < 400:
                yield f"{connection.port} {method} {path}: {found.status} {found.headers.items()}"


def with_certificate(folder: Path) -> ssl.SSLContext:
    """A client that trusts every server and has a certificate of its own, made as that of the servers is made."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    write_certificate(folder / "certificate.pem", folder / "key.pem", HOST)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def test_no_port_does_anything_for_a_request_without_credentials(local: Local, tmp_path: Path) -> None:
    ports = local.ports()
    assert len(ports) >= 5, "the ports were not found"
    context = with_certificate(tmp_path)
    done: list[str] = []
    for port in ports:
        done += allowed(http.client.HTTPConnection(HOST, port, timeout=5), PATHS)
        done += allowed(http.client.HTTPSConnection(HOST, port, timeout=5, context=context), PATHS[:6])
    assert not done, "\n".join(done)
    assert client(local.s3).get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"content"
    assert [row["Key"] for row in client(local.s3).list_objects_v2(Bucket=BUCKET)["Contents"]] == ["kept"]


def test_a_page_cannot_read_an_object_even_with_its_signed_url(local: Local) -> None:
    url = client(local.s3).generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "kept"})
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Origin": PAGE}), timeout=5) as found:
        assert found.read() == b"content"
        assert "Access-Control-Allow-Origin" not in found.headers


def test_no_port_speaks_grpc_without_the_certificate(local: Local) -> None:
    for port in local.ports():
        with socket.create_connection((HOST, port), timeout=5) as connection, suppress(OSError):
            connection.sendall(HTTP2_PREFACE)
            assert connection.recv(9)[3:4] != b"\4", f"port {port} answered with an HTTP/2 SETTINGS frame"


def test_every_port_is_on_loopback(local: Local) -> None:
    for port in local.ports():
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_valkey_has_no_port_and_needs_its_password(local: Local) -> None:
    url = urlsplit(local.redis_url)
    assert url.scheme == "unix"
    assert stat.S_IMODE(Path(url.path).stat().st_mode) == 0o700
    with pytest.raises(ServerRefused, match="needs a password"):
        Redis(unix_socket_path=url.path, retry=NO_RETRY).ping()
    with Redis.from_url(local.redis_url) as redis:
        assert redis.config_get("port") == {"port": "0"}
        pid = redis.info("server")["process_id"]
    assert pid in local.pids()


def test_the_servers_inherit_no_secret_and_show_none_on_their_command_lines(local: Local) -> None:
    with Redis.from_url(local.redis_url) as redis:
        password = redis.config_get("requirepass")["requirepass"]
    pids = local.pids()
    assert len(pids) == 3
    for pid in pids:
        command, environment = (Path(f"/proc/{pid}", name).read_text() for name in ("cmdline", "environ"))
        assert not [value for value in PLANTED.values() if value in environment]
        assert ("weed" in command) == (local.s3.secret_key in environment)
        assert ("sandbox" in command) == (SANDBOX["WIRO_API_KEY"] in environment)
        secrets = [password, local.s3.secret_key, *PLANTED.values(), *SANDBOX.values()]
        assert not [secret for secret in secrets if secret in command]


def test_files_that_a_server_opens_to_other_users_are_closed_again(local: Local) -> None:
    volumes = list((local.folder / "s3").rglob("*.vif"))
    assert volumes
    until(lambda: not any(file.stat().st_mode & 0o077 for file in volumes), "the files to be closed", 30)


def test_a_restart_finds_the_objects_and_the_keys_again(tmp_path: Path) -> None:
    for _ in range(2):
        with running_s3(tmp_path, BUCKET) as s3:
            found = client(s3).list_objects_v2(Bucket=BUCKET).get("Contents", [])
            client(s3).put_object(Bucket=BUCKET, Key="kept", Body=b"content")
    assert [row["Key"] for row in found] == ["kept"]


def test_a_long_state_path_has_its_sockets_elsewhere_and_privately(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with running_valkey(folder) as url, Redis.from_url(url) as redis:
        assert redis.ping()
        path = Path(urlsplit(url).path)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_a_folder_that_existed_is_closed_to_other_users(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    (state / "logs").mkdir(parents=True)
    for file in (state / "env.json", state / "logs" / "web.log", state / "tool", elsewhere):
        file.write_text("text")
        file.chmod(0o777 if file.name == "tool" else 0o644)
    (state / "link").symlink_to(elsewhere)
    for folder in (state, state / "logs"):
        folder.chmod(0o755)
    make_private(state)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (state, *state.rglob("*"))}
    assert {name: mode for name, mode in modes.items() if name != "link"} == {
        "state": 0o700, "logs": 0o700, "env.json": 0o600, "web.log": 0o600, "tool": 0o700,
    }  # fmt: skip
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644


def test_a_state_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(private_files, "close_to_others", refused)
    with pytest.raises(NotYours, match="--state"):
        make_private(tmp_path)
