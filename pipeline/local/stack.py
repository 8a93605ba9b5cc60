"""The whole service on one machine: what the Procfile names, and servers of our own for whatever is not configured."""

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
from pipeline.local.env_file import keep_file, write_environment
from pipeline.local.servers import HOST, exclusive_lock, free_ports, running_s3, running_valkey, running_vendor
from pipeline.local.supervisor import Supervisor, commands_of
from pipeline.settings import CONFIG, Settings, load

PORT = 8000
BUCKET = "dailies"
_BACKLOG = 8192
OURS = ("REDIS_URL", "WIRO_", "PIPELINE_", "AWS_")


class InUse(DailiesError):
    """Another `up` runs on this state."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"Another `dailies up` runs on {state}: stop it, or choose another folder with --state.")


class PortTaken(DailiesError):
    """The port that was asked for is taken."""

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} is taken: stop what listens there, choose another --port, or give none.")


@dataclass(frozen=True)
class Stack:
    """A service that runs. `places` says where what is, a line each, without secrets."""

    environment: Mapping[str, str]
    settings: Settings
    places: list[tuple[str, str]]
    supervisor: Supervisor


@contextmanager
def running(state: Path, *, port: int | None, workers: int, environ: Mapping[str, str]) -> Iterator[Stack]:
    """The service until the block ends. What it needs and `environ` has not is embedded, its data under `state`.

    `port` None takes 8000, or a free one where that is taken. Everything it started has ended when this returns:
    first the service, then the servers. Raises InUse, PortTaken, NotInstalled, DidNotStart, InvalidSettings.
    """
    state = state.absolute()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        stack.enter_context(_alone(state))
        env = _findable({name: value for name, value in environ.items() if value})
        places: list[tuple[str, str]] = []
        given = load(env)
        web = _folder(state, "web")
        lock = stack.enter_context(exclusive_lock(web))
        listener = stack.enter_context(_listening(web, port, "0.0.0.0" if given.api_token else HOST))  # noqa: S104
        env["PORT"] = str(listener.getsockname()[1])
        # The other commands may be run in another folder.
        env["PIPELINE_CONFIG"] = str(Path(env.get("PIPELINE_CONFIG") or CONFIG).absolute())
        env["PIPELINE_SCHEDULES"] = str(given.schedules.absolute())
        env["PIPELINE_TRIGGERS"] = str(given.triggers.absolute())
        env.setdefault("PIPELINE_SECRET", given.secret.get_secret_value() or _secret(state))
        _redis(stack, state, given, env, places)
        _s3(stack, state, given, env, places)
        _wiro(stack, state, given, env, places)
        settings = load(env)
        write_environment(state, {name: value for name, value in env.items() if name.startswith(OURS)})
        supervisor = stack.enter_context(Supervisor(_folder(state, "logs"), env, _root()))
        for name, command in commands_of(_root() / "Procfile", {"worker": workers}).items():
            supervisor.start(name, command, listens=(listener.fileno(), lock) if name == "web" else None)
        places.insert(0, ("Web", f"http://{HOST}:{env['PORT']}/{_who_may(settings)}"))
        places.append(("State", f"{state} (logs/ among it; env.json tells the other commands where everything is)"))
        yield Stack(env, settings, places, supervisor)


def _findable(env: dict[str, str]) -> dict[str, str]:
    """`env` with our programs on its PATH; scripts such as `rq` do not look into the folder they are started from."""
    programs = Path(sys.executable).parent
    modules = [str(Path(__file__).parents[2]), *filter(None, [env.get("PYTHONPATH")])]
    return {
        **env,
        "PATH": f"{programs}{os.pathsep}{env.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join(modules),
        "PYTHONUNBUFFERED": "1",
    }


def _who_may(settings: Settings) -> str:
    if settings.api_token:
        return "  (on every address of this machine; needs PIPELINE_API_TOKEN)"
    return "  (this machine only: PIPELINE_API_TOKEN is not set)"


def _redis(stack: ExitStack, state: Path, given: Settings, env: dict[str, str], places: list[tuple[str, str]]) -> None:
    if "redis_url" in given.model_fields_set:
        places.append(("Redis", "yours (REDIS_URL)"))
        return
    env["REDIS_URL"] = stack.enter_context(running_valkey(_folder(state, "valkey")))
    places.append(("Redis", f"{env['REDIS_URL']}  (embedded Valkey)"))


def _s3(stack: ExitStack, state: Path, given: Settings, env: dict[str, str], places: list[tuple[str, str]]) -> None:
    if given.output:
        places.append(("Output", f"{given.output}  (yours)"))
        return
    s3 = stack.enter_context(running_s3(_folder(state, "s3"), BUCKET))
    for foreign in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        env.pop(foreign, None)
    env.update(
        PIPELINE_OUTPUT=f"s3://{s3.bucket}/batches/",
        AWS_ENDPOINT_URL_S3=s3.endpoint,
        AWS_ACCESS_KEY_ID=s3.access_key,
        AWS_SECRET_ACCESS_KEY=s3.secret_key,
        AWS_DEFAULT_REGION="us-east-1",
    )
    places.append(("Output", f"{env['PIPELINE_OUTPUT']} at {s3.endpoint}  (embedded SeaweedFS)"))


def _wiro(stack: ExitStack, state: Path, given: Settings, env: dict[str, str], places: list[tuple[str, str]]) -> None:
    if given.wiro_api_key.get_secret_value():
        places.append(("Wiro", given.wiro_api_url))
        return
    # Known to everybody, good for the sandbox only.
    env.update(WIRO_API_KEY="sandbox-key", WIRO_API_SECRET="sandbox-secret")  # noqa: S106
    place = stack.enter_context(running_vendor(_folder(state, "sandbox"), env))
    env.update(
        WIRO_API_URL=f"http://{place}/v1",
        WIRO_SOCKET_URL=f"ws://{place}/v1",
        PIPELINE_FETCH_HOSTS=",".join([*given.fetch_hosts, place]),
    )
    # It reaches this machine, so it can call back.
    env.setdefault("PIPELINE_PUBLIC_URL", given.public_url or f"http://{HOST}:{env['PORT']}")
    places.append(("Wiro", f"{env['WIRO_API_URL']}  (the sandbox: no real videos, no real money)"))


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(state) from None
        yield


def _secret(state: Path) -> str:
    """What signs callback URLs and sessions; made once, so that callbacks of before a restart are still good."""
    return keep_file(state / "secret", secrets.token_urlsafe(32))


def _listening(folder: Path, asked: int | None, address: str) -> socket:
    """The socket of the web side. It is ours, so that callbacks find it while the web process is started again."""
    while True:
        (port,) = free_ports(folder, 1, preferred=[PORT]) if asked is None else [asked]
        try:
            return create_server((address, port), backlog=_BACKLOG)
        except OSError:
            if asked is not None:
                raise PortTaken(asked) from None


def _folder(state: Path, name: str) -> Path:
    folder = state / name
    folder.mkdir(exist_ok=True)
    return folder


def _root() -> Path:
    """Where the Procfile and `config/` lie: here, or where this package was installed from."""
    here = Path.cwd()
    return here if (here / "Procfile").is_file() else Path(__file__).parents[2]
