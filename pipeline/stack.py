"""The whole service on one machine: what the Procfile names, and servers of our own for whatever is not configured."""

from __future__ import annotations

import fcntl
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.embedded import HOST, free_ports, running_s3, running_valkey
from pipeline.errors import DailiesError
from pipeline.settings import Settings, load
from pipeline.state import write_environment
from pipeline.supervisor import Supervisor, commands_of

PORT = 8000
BUCKET = "dailies"
OURS = ("REDIS_URL", "WIRO_", "PIPELINE_", "AWS_")


class InUse(DailiesError):
    """Another `up` runs on this state."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"Another `dailies up` runs on {state}: stop it, or choose another folder with --state.")


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

    `port` None takes 8000, or a free one where that is taken. Everything it started has ended when this returns.
    Raises InUse, NotInstalled, DidNotStart, InvalidSettings.
    """
    state = state.absolute()
    (state / "logs").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_alone(state))
        env = {name: value for name, value in environ.items() if value}
        places: list[tuple[str, str]] = []
        given = load(env)
        env["PORT"] = str(port if port is not None else _port(state))
        # The other commands may be run in another folder.
        env["PIPELINE_SCHEDULES"] = str(given.schedules.absolute())
        _redis(stack, state, given, env, places)
        _s3(stack, state, given, env, places)
        sandbox = _wiro(state, given, env, places)
        env.setdefault("PIPELINE_SECRET", given.secret.get_secret_value() or _secret(state))
        settings = load(env)
        written = {name: value for name, value in env.items() if name.startswith(OURS)}
        write_environment(state, written)
        supervisor = stack.enter_context(Supervisor(state / "logs", env))
        for name, command in sandbox.items():
            supervisor.start(name, command)
        for name, command in commands_of(_root() / "Procfile", {"worker": workers}).items():
            supervisor.start(name, command)
        places.insert(0, ("Web", f"http://{HOST}:{env['PORT']}/{_who_may(settings)}"))
        places.append(("State", f"{state} (logs/ among it; env.json tells the other commands where everything is)"))
        yield Stack(env, settings, places, supervisor)


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


def _wiro(state: Path, given: Settings, env: dict[str, str], places: list[tuple[str, str]]) -> dict[str, str]:
    """The vendor: yours, or the sandbox as a process of this stack. Answers {name: command} of what is to run."""
    if given.wiro_api_key.get_secret_value():
        places.append(("Wiro", given.wiro_api_url))
        return {}
    folder = _folder(state, "sandbox")
    (port,) = free_ports(folder, 1)
    env.update(
        WIRO_API_KEY="sandbox-key",
        WIRO_API_SECRET="sandbox-secret",  # noqa: S106  known to everybody, good for the sandbox only
        WIRO_API_URL=f"http://{HOST}:{port}/v1",
        WIRO_SOCKET_URL=f"ws://{HOST}:{port}/v1",
        PIPELINE_FETCH_HOSTS=",".join([*given.fetch_hosts, f"{HOST}:{port}"]),
    )
    # It reaches this machine, so it can call back.
    env.setdefault("PIPELINE_PUBLIC_URL", given.public_url or f"http://{HOST}:{env['PORT']}")
    places.append(("Wiro", f"{env['WIRO_API_URL']}  (the sandbox: no real videos, no real money)"))
    return {"sandbox": f"python -m pipeline sandbox --port {port} --state {shlex.quote(str(folder))}"}


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
    file = state / "secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _port(state: Path) -> int:
    (port,) = free_ports(_folder(state, "web"), 1, preferred=[PORT])
    return port


def _folder(state: Path, name: str) -> Path:
    folder = state / name
    folder.mkdir(exist_ok=True)
    return folder


def _root() -> Path:
    """Where the Procfile and `config/` lie: here, or where this package was installed from."""
    here = Path.cwd()
    return here if (here / "Procfile").is_file() else Path(__file__).parent.parent
