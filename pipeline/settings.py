"""Settings. The environment overrides `config/pipeline.yaml`, which overrides the defaults. Loaded once."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from pipeline.domain.api_tokens import check_tokens
from pipeline.domain.s3_names import lower_scheme
from pipeline.errors import InvalidSettings

CONFIG = Path("config/pipeline.yaml")
"""The settings file, unless PIPELINE_CONFIG names another one."""
_UNPREFIXED_NAMES = {
    "redis_url": "REDIS_URL",
    "wiro_api_key": "WIRO_API_KEY",
    "wiro_api_secret": "WIRO_API_SECRET",
    "wiro_api_url": "WIRO_API_URL",
    "wiro_socket_url": "WIRO_SOCKET_URL",
    "s3_endpoint": "AWS_ENDPOINT_URL_S3",
}
_MIN_NOTIFY_KEY_BYTES = 24
_MAX_SECRET_BYTES = 65_536
_BASE_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
_PREFIX = re.compile(r"(?!.*/\.\.?/)[A-Za-z0-9][A-Za-z0-9._-]{2,62}/([^/\\*?\x00-\x1f\x7f]+/)*")

Seconds = Annotated[float, Field(gt=0)]
Ceiling = Annotated[Decimal, Field(gt=0, le=9_000_000)]
"""US dollars. The maximum is `domain.money.MAX_USD`."""


class Settings(BaseModel):
    """All settings, typed and frozen. Names that end with `_s` are in seconds. Secrets print as stars."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    """Redis or Valkey: `redis://`, `rediss://` (TLS) or `unix://`."""
    wiro_api_key: SecretStr = SecretStr("")
    """API key of the Wiro project."""
    wiro_api_secret: SecretStr | None = None
    """API secret of a Wiro project with signatures. Unset for a project that uses the key only."""
    wiro_api_url: str = "https://api.wiro.ai/v1"
    """Base URL of Wiro's API."""
    wiro_socket_url: str = "wss://socket.wiro.ai/v1"
    """URL of Wiro's WebSocket, for the messages of a running task."""
    s3_endpoint: str | None = None
    """URL of an S3 server that is not AWS. boto3 reads its other `AWS_…` variables itself."""

    output: str | None = None
    """Default folder of outputs, `s3://bucket/prefix/`. A manifest can name its own."""
    public_url: str | None = None
    """Base of callback URLs. Unset: no callbacks, runs are polled."""
    dashboard_url: str | None = None
    """Address of the dashboard in a browser, for commands that print it. Unset: `public_url`. `up` sets its own."""
    secret: SecretStr = SecretStr("")
    """Key that signs callback URLs and sessions. During a rotation: `NEW,OLD`. The first key signs, all verify."""
    api_token: SecretStr | None = None
    """Bearer token of API and dashboard, or several as `NAME:TOKEN,NAME:TOKEN`; 16 characters or more each.

    Unset: the web process serves callbacks and health checks only. `up` makes a token.
    """
    buckets: tuple[str, ...] = ()
    """Further `bucket/prefix/`, or whole `bucket`s, that manifests from HTTP or S3 may name, besides `output`."""
    schedules: Path = Path("config/schedules.yaml")
    """File of the schedules."""
    triggers: Path = Path("config/triggers.yaml")
    """File of the trigger rules."""
    events_token: SecretStr | None = None
    """Token that may only post S3 events to /events/s3. `api_token` may do that too."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Addresses or networks (CIDR) of the proxies before the web process. Only their X-Forwarded-For and
    X-Forwarded-Proto count."""
    web_threads: Annotated[int, Field(ge=2)] = 32
    """Threads of a web process. At most half of them serve live progress pages."""
    notify_secret: SecretStr | None = None
    """Key that signs notifications, `whsec_…`. During a rotation: `NEW,OLD`. Unset: derived from `secret`."""
    fetch_hosts: tuple[str, ...] = ("*.wiro.ai",)
    """Hosts, `*.` patterns or `host:port` that outputs are downloaded from. A private address must be named."""
    notify_hosts: tuple[str, ...] = ()
    """Hosts, or `host:port`, that notifications may go to besides public https addresses: named private ones."""

    poll_after_s: Seconds = 120
    """Seconds without a callback after which a run is polled."""
    sweep_every_s: Annotated[int, Field(gt=0)] = 30
    """Seconds between two sweeps, which expire leases and poll silent runs."""
    adopt_wait_s: Seconds = 900
    """Seconds in which a run whose response was lost is adopted, by its callback or from the vendor's list of tasks."""
    lease_s: Seconds = 120
    """Seconds after which the items of a crashed worker are due again."""
    on_unknown: Literal["hold", "resubmit"] = "hold"
    """After `adopt_wait_s`: `hold` the item for a person, or `resubmit` it, which may buy it twice, if the
    vendor's whole list of tasks does not have it."""
    max_active: Annotated[int, Field(ge=0)] = 0
    """Maximum active runs of the account. 0: as many as the account allows."""
    max_batch_usd: Ceiling | None = None
    """What a batch may cost at most, whatever its manifest has. One with a higher estimate is refused."""
    max_day_usd: Ceiling | None = None
    """What all runs of a UTC day may cost at most. Further runs wait for the next day."""
    max_output_mb: Annotated[int, Field(gt=0)] = 4096
    """Largest output that is copied, in megabytes (10^6 bytes)."""
    keep_days: Annotated[float, Field(ge=0, le=36_500)] = 90
    """Days after which an ended batch is archived: it leaves Redis, and S3 keeps its items. 0: never. Can be a part."""
    purge_source: bool = False
    """After the copy, delete inputs and outputs at the vendor."""

    @field_validator("fetch_hosts", "notify_hosts", "buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _parse_networks(cls, value: object) -> object:
        texts = value.split(",") if isinstance(value, str) else value
        if not isinstance(texts, Iterable):
            return value
        try:
            return tuple(ip_network(text.strip() if isinstance(text, str) else text) for text in texts if text)
        except ValueError:
            raise ValueError("must be addresses or networks in CIDR notation, separated by commas") from None

    @field_validator("api_token", "events_token")
    @classmethod
    def _check_tokens(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        check_tokens(value.get_secret_value())
        return value

    @field_validator("buckets")
    @classmethod
    def _check_buckets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        prefixes = tuple(f"{lower_scheme(entry).removeprefix('s3://').rstrip('/')}/" for entry in value)
        if not all(map(_PREFIX.fullmatch, prefixes)):
            raise ValueError("must be names of buckets, or bucket/prefix/")
        return prefixes

    @field_validator("notify_secret")
    @classmethod
    def _check_notify_secret(cls, value: SecretStr | None) -> SecretStr | None:
        for key in value.get_secret_value().split(",") if value else ():
            try:
                decoded = base64.b64decode(key.strip().removeprefix("whsec_"), validate=True)
            except ValueError:
                decoded = b""
            if len(decoded) < _MIN_NOTIFY_KEY_BYTES:
                raise ValueError("must be whsec_ and at least 24 bytes in base64, or several separated by commas")
        return value

    @field_validator("output")
    @classmethod
    def _check_output(cls, value: str | None) -> str | None:
        if not value:
            return None
        value = lower_scheme(value)
        if not value.startswith("s3://") or not value.removeprefix("s3://").strip("/"):
            raise ValueError("must look like s3://bucket/prefix/")
        return value if value.endswith("/") else value + "/"

    @field_validator("public_url", "dashboard_url", "wiro_api_url", "wiro_socket_url")
    @classmethod
    def _strip_slash(cls, value: str | None) -> str | None:
        return lower_scheme(value.strip()).rstrip("/") if value else None

    @field_validator("redis_url", "s3_endpoint")
    @classmethod
    def _lower_scheme(cls, value: str | None) -> str | None:
        return lower_scheme(value.strip()) if value else value

    @field_validator("public_url", "dashboard_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        if value and not _BASE_URL.fullmatch(value):
            raise ValueError("must look like https://dailies.example.com, perhaps with a path")
        return value

    @property
    def is_https(self) -> bool:
        """Whether browsers and the vendor reach the web process by TLS."""
        return (self.public_url or "").startswith("https:")

    @property
    def sandbox_reason(self) -> str:
        """Why no real vendor is connected, for people; '' if one is."""
        if not self.wiro_api_key.get_secret_value():
            return "WIRO_API_KEY is not set: no vendor is connected."
        address = self.wiro_api_url.partition("://")[2].partition("/")[0]
        host = address.rpartition(":")[0] or address
        # Outputs of the vendor come from its own network, those of a sandbox from the host of its API.
        if host.endswith(".wiro.ai") or not {address, host}.intersection(self.fetch_hosts):
            return ""
        return f"The sandbox at {address} is connected in place of Wiro: no real videos, no real money."

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The `s3://…/` prefixes that manifests from HTTP or S3 may name."""
        return (*(f"s3://{prefix}" for prefix in self.buckets), *([self.output] if self.output else []))


def environment_name(field: str) -> str:
    """Return the environment variable that sets `field`."""
    return _UNPREFIXED_NAMES.get(field, f"PIPELINE_{field.upper()}")


def with_secret_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with the text of each file that a NAME_FILE names as NAME, and without NAME_FILE.

    NAME is a setting that holds a secret. One line end at the end of the file is not part of the secret.
    Raises InvalidSettings with all problems, never with a secret.
    """
    found, problems = dict(environ), []
    for name in _SECRETS:
        file = found.pop(f"{name}_FILE", "")
        if not file:
            continue
        if found.get(name):
            problems.append(f"{name} and {name}_FILE are both set. Unset one of them.")
            continue
        try:
            found[name] = _read_secret(Path(file))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(f"{name}_FILE: {file} cannot be used: {reason}. Write the secret into it, as one line.")
    if problems:
        raise InvalidSettings("\n".join(problems))
    return found


def load(
    environ: Mapping[str, str] | None = None, file: Path | None = None, *, without: Collection[str] = ()
) -> Settings:
    """Load the settings from `environ` (default: os.environ) and `file` (default: PIPELINE_CONFIG, else CONFIG).

    The file may be missing. An empty environment variable counts as not set. Settings named in `without` are not read.
    Secrets may be in files, see `with_secret_files`.
    Raises InvalidSettings, which names each invalid setting and its source, but never a value.
    """
    environ = with_secret_files(os.environ if environ is None else environ)
    file = file or Path(environ.get("PIPELINE_CONFIG") or CONFIG)
    values = _from_file(file)
    sources = dict.fromkeys(values, str(file))
    for name in Settings.model_fields:
        variable = environment_name(name)
        if environ.get(variable):
            values[name] = environ[variable]
            sources[name] = variable
    try:
        return Settings.model_validate({name: value for name, value in values.items() if name not in without})
    except ValidationError as error:
        problems = [(str(one["loc"][0]), one["msg"]) for one in error.errors()]
        lines = [f"{sources.get(name, file)}: {name}: {message}" for name, message in problems]
        raise InvalidSettings("\n".join(lines), tuple(name for name, _ in problems)) from None


_SECRETS = tuple(
    environment_name(name)
    for name, field in Settings.model_fields.items()
    # The URL of Redis may hold a password.
    if name == "redis_url" or SecretStr in (field.annotation, *get_args(field.annotation))
)


def _read_secret(file: Path) -> str:
    """Return the secret in a file. Raises OSError, ValueError with the reason."""
    # Reading a pipe would wait for its writer.
    if file.exists() and not file.is_file():
        raise ValueError("it is not a file")
    with file.open("rb") as stream:
        data = stream.read(_MAX_SECRET_BYTES + 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise ValueError("it is empty")
    if len(data) > _MAX_SECRET_BYTES or not secret.isprintable():
        raise ValueError("it is not one line of text")
    return secret


def _from_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidSettings(f"{file}: The file cannot be read: {reason}.") from None
    except yaml.YAMLError as error:
        # The message of PyYAML quotes the file, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise InvalidSettings(f"{place}: This is not valid YAML. Correct the file.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidSettings(f"{file}: The file must contain `name: value` lines.")
    return {str(name): value for name, value in values.items()}
