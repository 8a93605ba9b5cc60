"""The whole service on one machine: the Procfile's processes, and embedded servers for what is not configured."""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server, socket

from pipeline.errors import DailiesError
from pipeline.local.servers import HOST, exclusive_lock, free_ports, running_s3, running_valkey, running_vendor
from pipeline.local.state_file import SETTINGS, USER_S3, read_or_create, write_environment
from pipeline.local.supervisor import Supervisor, commands_of
from pipeline.settings import CONFIG, Settings, load

PORT = 8000
BUCKET = "dailies"
_BACKLOG = 8192


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
    """A running service. `places`: (what, where) of each part, without secrets."""

    environment: Mapping[str, str]
    settings: Settings
    places: list[tuple[str, str]]
    supervisor: Supervisor


@contextmanager
def running(state: Path, *, port: int | None, workers: int, environ: Mapping[str, str]) -> Iterator[Stack]:
    """Run the service while the block runs. Embed each server that `environ` does not configure, its data in `state`.

    `port` None: 8000, or a free port if 8000 is in use. On return all processes have exited: first the service, then
    the servers. Raises InUse, PortTaken, NotInstalled, DidNotStart, InvalidSettings.
    """
    state = state.absolute()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        stack.enter_context(_state_lock(state))
        env = _with_programs({name: value for name, value in environ.items() if value})
        servers = _Servers(stack, state, load(env), env, [])
        listener = servers.listen(port)
        servers.set_paths()
        servers.add_redis()
        servers.add_s3()
        servers.add_vendor()
        settings = load(env)
        write_environment(state, {name: value for name, value in env.items() if name.startswith(SETTINGS)})
        supervisor = stack.enter_context(Supervisor(_folder(state, "logs"), env, _root()))
        for name, command in commands_of(_root() / "Procfile", {"worker": workers}).items():
            supervisor.start(name, command, listener=listener if name == "web" else None)
        web = ("Web", f"http://{HOST}:{env['PORT']}/{_access(settings)}")
        data = ("State", f"{state} (logs in logs/; env.json has the settings for other commands)")
        yield Stack(env, settings, [web, *servers.places, data], supervisor)


@dataclass(frozen=True)
class _Servers:
    """Starts what the service needs and `configured` lacks. Each method adds to `env` and `places`."""

    stack: ExitStack
    state: Path
    configured: Settings
    env: dict[str, str]
    places: list[tuple[str, str]]

    def listen(self, port: int | None) -> tuple[int, int]:
        """Open the web socket. It stays open while the web process restarts, so callbacks wait in its backlog.

        Returns the file descriptors of the socket and of the lock on its port.
        """
        folder = _folder(self.state, "web")
        lock = self.stack.enter_context(exclusive_lock(folder))
        address = "0.0.0.0" if self.configured.api_token else HOST  # noqa: S104
        listener = self.stack.enter_context(_listening_socket(folder, port, address))
        self.env["PORT"] = str(listener.getsockname()[1])
        return listener.fileno(), lock

    def set_paths(self) -> None:
        """Make paths absolute, because other commands may run in another folder. Create the signing secret."""
        self.env["PIPELINE_CONFIG"] = str(Path(self.env.get("PIPELINE_CONFIG") or CONFIG).absolute())
        self.env["PIPELINE_SCHEDULES"] = str(self.configured.schedules.absolute())
        self.env["PIPELINE_TRIGGERS"] = str(self.configured.triggers.absolute())
        secret = self.configured.secret.get_secret_value() or _saved_secret(self.state)
        self.env.setdefault("PIPELINE_SECRET", secret)

    def add_redis(self) -> None:
        """Start Valkey unless REDIS_URL is set."""
        if "redis_url" in self.configured.model_fields_set:
            self.places.append(("Redis", "yours (REDIS_URL)"))
            return
        self.env["REDIS_URL"] = self.stack.enter_context(running_valkey(_folder(self.state, "valkey")))
        self.places.append(("Redis", f"{self.env['REDIS_URL']}  (embedded Valkey)"))

    def add_s3(self) -> None:
        """Start SeaweedFS unless PIPELINE_OUTPUT is set."""
        if self.configured.output:
            self.places.append(("Output", f"{self.configured.output}  (yours)"))
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
        self.places.append(("Output", f"{self.env['PIPELINE_OUTPUT']} at {s3.endpoint}  (embedded SeaweedFS)"))

    def add_vendor(self) -> None:
        """Start the sandbox unless WIRO_API_KEY is set. It runs on this machine, so it can send callbacks."""
        if self.configured.wiro_api_key.get_secret_value():
            self.places.append(("Wiro", self.configured.wiro_api_url))
            return
        # Public values, valid for the sandbox only.
        self.env.update(WIRO_API_KEY="sandbox-key", WIRO_API_SECRET="sandbox-secret")  # noqa: S106
        host = self.stack.enter_context(running_vendor(_folder(self.state, "sandbox"), self.env))
        self.env.update(
            WIRO_API_URL=f"http://{host}/v1",
            WIRO_SOCKET_URL=f"ws://{host}/v1",
            PIPELINE_FETCH_HOSTS=",".join([*self.configured.fetch_hosts, host]),
        )
        own_url = f"http://{HOST}:{self.env['PORT']}"
        self.env.setdefault("PIPELINE_PUBLIC_URL", self.configured.public_url or own_url)
        self.places.append(("Wiro", f"{self.env['WIRO_API_URL']}  (the sandbox: no real videos, no real money)"))


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


def _access(settings: Settings) -> str:
    if settings.api_token:
        return "  (on every address of this machine; needs PIPELINE_API_TOKEN)"
    return "  (this machine only: PIPELINE_API_TOKEN is not set)"


@contextmanager
def _state_lock(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(state) from None
        yield


def _saved_secret(state: Path) -> str:
    """Return the key that signs callback URLs and sessions. It is saved, so they stay valid after a restart."""
    return read_or_create(state / "secret", secrets.token_urlsafe(32))


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
