"""The whole service on one machine: the Procfile's processes, and embedded servers for what is not configured."""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import create_server, socket

from pipeline.domain.api_tokens import Tokens
from pipeline.errors import DailiesError, Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.local.private_files import make_private
from pipeline.local.server_process import exclusive_lock
from pipeline.local.servers import HOST, free_ports, running_s3, running_valkey, running_vendor
from pipeline.local.state_file import SETTINGS, USER_S3, read_or_create, write_environment, write_shell_file
from pipeline.local.supervisor import Supervisor, commands_of
from pipeline.settings import CONFIG, Settings, load, with_secret_files

PORT = 8000
BUCKET = "dailies"
_BACKLOG = 8192
_READY_TIMEOUT_S = 3.0


class InUse(DailiesError):
    """Another `up` runs on this state."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"Another `dailies up` runs on {state}: stop it, or choose another folder with --state.")


class PortTaken(DailiesError):
    """The port that `--port` names is in use."""

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} is in use: stop the process that uses it, or choose another --port, or none.")


@dataclass(frozen=True)
class Stack:
    """A running service. `address`: signs a browser in, once. `embedded`: what replaces servers of the user.

    `shell_file`: a file to source for the AWS command line; None if S3 is not embedded.
    """

    environment: Mapping[str, str]
    settings: Settings
    address: str
    embedded: list[str]
    supervisor: Supervisor
    shell_file: Path | None

    def is_ready(self) -> bool:
        """Return whether /readyz returns 200."""
        connection = HTTPConnection(HOST, int(self.environment["PORT"]), timeout=_READY_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running(state: Path, *, port: int | None, workers: int, environ: Mapping[str, str]) -> Iterator[Stack]:
    """Run the service while the block runs. Embed each server that `environ` does not configure, its data in `state`.

    `port` None: 8000, or a free port if 8000 is in use. On return all processes have exited: first the service, then
    the servers. Only this user can read `state` and what is in it.
    Raises InUse, PortTaken, NotYours, NotInstalled, DidNotStart, InvalidSettings.
    """
    state = state.absolute()
    make_private(state)
    with ExitStack() as stack:
        stack.callback(os.umask, os.umask(0o077))
        stack.enter_context(_state_lock(state))
        env = _with_programs({name: value for name, value in with_secret_files(environ).items() if value})
        servers = _Servers(stack, state, load(env), env, [])
        listener = servers.listen(port)
        servers.set_paths()
        servers.set_secrets()
        servers.add_redis()
        servers.add_s3()
        servers.add_vendor()
        servers.allow_local_notifications()
        settings = load(env)
        write_environment(state, {name: value for name, value in env.items() if name.startswith(SETTINGS)})
        shell_file = None if servers.configured.output else write_shell_file(state, env)
        supervisor = stack.enter_context(Supervisor(_folder(state, "logs"), env, _root()))
        for name, command in commands_of(_root() / "Procfile", {"worker": workers}).items():
            supervisor.start(name, command, listener=listener if name == "web" else None)
        yield Stack(env, settings, _address(settings, env["PORT"]), servers.embedded, supervisor, shell_file)


@dataclass(frozen=True)
class _Servers:
    """Starts what the service needs and `configured` lacks. Each method adds to `env` and `embedded`."""

    stack: ExitStack
    state: Path
    configured: Settings
    env: dict[str, str]
    embedded: list[str]

    def listen(self, port: int | None) -> tuple[int, int]:
        """Open the web socket. It stays open while the web process restarts, so callbacks wait in its backlog.

        Returns the file descriptors of the socket and of the lock on its port.
        """
        folder = _folder(self.state, "web")
        lock = self.stack.enter_context(exclusive_lock(folder))
        address = "0.0.0.0" if self.configured.api_token else HOST  # noqa: S104
        listener = self.stack.enter_context(_listening_socket(folder, port, address))
        self.env["PORT"] = str(listener.getsockname()[1])
        self.env.setdefault("PIPELINE_DASHBOARD_URL", f"http://{HOST}:{self.env['PORT']}")
        return listener.fileno(), lock

    def set_paths(self) -> None:
        """Make paths absolute, because other commands may run in another folder."""
        self.env["PIPELINE_CONFIG"] = str(Path(self.env.get("PIPELINE_CONFIG") or CONFIG).absolute())
        self.env["PIPELINE_SCHEDULES"] = str(self.configured.schedules.absolute())
        self.env["PIPELINE_TRIGGERS"] = str(self.configured.triggers.absolute())

    def set_secrets(self) -> None:
        """Create the signing secret and the API token. They are saved: callback URLs and sessions survive a restart."""
        if not self.configured.secret.get_secret_value():
            self.env["PIPELINE_SECRET"] = read_or_create(self.state / "secret", secrets.token_urlsafe(32))
        if not self.configured.api_token:
            self.env["PIPELINE_API_TOKEN"] = read_or_create(self.state / "api-token", secrets.token_urlsafe(32))

    def add_redis(self) -> None:
        """Start Valkey unless REDIS_URL is set."""
        if "redis_url" in self.configured.model_fields_set:
            return
        self.env["REDIS_URL"] = self.stack.enter_context(running_valkey(_folder(self.state, "valkey")))
        self.embedded.append("Valkey")

    def add_s3(self) -> None:
        """Start SeaweedFS unless PIPELINE_OUTPUT is set."""
        if self.configured.output:
            return
        s3 = self.stack.enter_context(running_s3(_folder(self.state, "s3"), BUCKET))
        for name in USER_S3:
            self.env.pop(name, None)
        self.env.update(
            PIPELINE_OUTPUT=f"s3://{s3.bucket}/batches/",
            PIPELINE_BUCKETS=",".join([*self.configured.buckets, f"{s3.bucket}/samples/"]),
            AWS_ENDPOINT_URL_S3=s3.endpoint,
            AWS_ACCESS_KEY_ID=s3.access_key,
            AWS_SECRET_ACCESS_KEY=s3.secret_key,
            AWS_DEFAULT_REGION="us-east-1",
        )
        self.embedded.append("SeaweedFS")

    def add_vendor(self) -> None:
        """Start the sandbox unless WIRO_API_KEY is set. It runs on this machine, so it can send callbacks."""
        if self.configured.wiro_api_key.get_secret_value():
            return
        folder = _folder(self.state, "sandbox")
        self.env["WIRO_API_KEY"] = read_or_create(folder / "key", secrets.token_urlsafe(16))
        self.env["WIRO_API_SECRET"] = read_or_create(folder / "secret", secrets.token_urlsafe(16))
        host = self.stack.enter_context(running_vendor(folder, self.env))
        self.env.update(
            WIRO_API_URL=f"http://{host}/v1",
            WIRO_SOCKET_URL=f"ws://{host}/v1",
            PIPELINE_FETCH_HOSTS=",".join([*self.configured.fetch_hosts, host]),
        )
        own_url = f"http://{HOST}:{self.env['PORT']}"
        self.env.setdefault("PIPELINE_PUBLIC_URL", self.configured.public_url or own_url)
        self.embedded.append("a sandbox in place of Wiro (no real videos, no real money)")

    def allow_local_notifications(self) -> None:
        """Let `notify` name this machine where no other user can submit: with our own S3 and API token."""
        if not (self.configured.output or self.configured.api_token or self.configured.notify_hosts):
            self.env["PIPELINE_NOTIFY_HOSTS"] = "localhost,127.0.0.1,::1"


def _with_programs(env: dict[str, str]) -> dict[str, str]:
    """Return `env` with this environment's programs on PATH and this package on PYTHONPATH, which `rq` needs."""
    programs = Path(sys.executable).parent
    modules = [str(Path(__file__).parents[2]), *filter(None, [env.get("PYTHONPATH")])]
    return {
        **env,
        "PATH": f"{programs}{os.pathsep}{env.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join(modules),
        "PYTHONUNBUFFERED": "1",
    }


def _address(settings: Settings, port: str) -> str:
    """Return the address that signs a browser in with a new one-time code. Without Redis, that of the dashboard."""
    home = f"http://{HOST}:{port}/"
    tokens = Tokens(settings.api_token.get_secret_value() if settings.api_token else "")
    try:
        return f"{home}sign-in?code={Ledger.connect(settings.redis_url).sign_in_codes.create(tokens.first_mark())}"
    except Unreachable:
        return home


@contextmanager
def _state_lock(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(state) from None
        yield


def _listening_socket(folder: Path, port: int | None, address: str) -> socket:
    while True:
        (candidate,) = free_ports(folder, 1, preferred=[PORT]) if port is None else [port]
        try:
            return create_server((address, candidate), backlog=_BACKLOG)
        except OSError:
            if port is not None:
                raise PortTaken(port) from None


def _folder(state: Path, name: str) -> Path:
    folder = state / name
    folder.mkdir(exist_ok=True)
    return folder


def _root() -> Path:
    """Return the folder of the Procfile and `config/`: the working directory, or the installed package's."""
    here = Path.cwd()
    return here if (here / "Procfile").is_file() else Path(__file__).parents[2]
