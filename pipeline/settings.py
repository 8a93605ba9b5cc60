"""Settings: defaults < `config/pipeline.yaml` < environment. Read once, passed down."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from pipeline.errors import InvalidSettings

_PLAIN_NAMES = {
    "redis_url": "REDIS_URL",
    "wiro_api_key": "WIRO_API_KEY",
    "wiro_api_secret": "WIRO_API_SECRET",
    "wiro_api_url": "WIRO_API_URL",
    "wiro_socket_url": "WIRO_SOCKET_URL",
    "s3_endpoint": "AWS_ENDPOINT_URL_S3",
}

CONFIG = Path("config/pipeline.yaml")
"""Where settings lie unless PIPELINE_CONFIG says otherwise."""
_MIN_KEY = 24

Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Every setting of the service, typed. Durations are in seconds. Secrets print as stars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redis_url: str = "redis://127.0.0.1:6379/0"
    wiro_api_key: SecretStr = SecretStr("")
    wiro_api_secret: SecretStr | None = None
    wiro_api_url: str = "https://api.wiro.ai/v1"
    wiro_socket_url: str = "wss://socket.wiro.ai/v1"
    s3_endpoint: str | None = None

    output: str | None = None
    """Where outputs go unless a manifest says otherwise: `s3://bucket/prefix/`."""
    public_url: str | None = None
    """Base of callback URLs; unset: no callbacks, runs are polled."""
    secret: SecretStr = SecretStr("")
    """Signs callback URLs. Several, separated by commas, while a key is rotated: the first signs, all are accepted."""
    api_token: SecretStr | None = None
    buckets: tuple[str, ...] = ()
    """Buckets, besides that of `output`, which manifests sent by HTTP or found on S3 may read and write."""
    schedules: Path = Path("config/schedules.yaml")
    """Which batches start by the clock."""
    triggers: Path = Path("config/triggers.yaml")
    """Which objects on S3 start batches."""
    events_token: SecretStr | None = None
    """Token of those who post S3 events to /events/s3, besides `api_token`; it opens nothing else."""
    web_threads: Annotated[int, Field(ge=2)] = 16
    """Threads of a web process. Half of them may be taken by pages that watch a batch."""
    notify_secret: SecretStr | None = None
    """Signs notifications (`whsec_…`); several, separated by commas, while one is rotated. Unset: one
    made from `secret` (docs/notifications.md)."""
    fetch_hosts: tuple[str, ...] = ("*.wiro.ai",)
    """Hosts, `*.` patterns or `host:port`, that outputs may be fetched from."""

    poll_after_s: Seconds = 120
    """Silence after which a run that should have called back is polled."""
    sweep_every_s: Annotated[int, Field(gt=0)] = 30
    adopt_wait_s: Seconds = 900
    lease_s: Seconds = 120
    on_unknown: Literal["hold", "resubmit"] = "hold"
    max_active: Annotated[int, Field(ge=0)] = 0
    """Most runs in flight for the account; 0: as many as the account allows."""
    max_output_mb: Annotated[int, Field(gt=0)] = 4096
    """The largest output that is copied, in megabytes (10^6 bytes)."""
    purge_source: bool = False
    """After the copy, delete inputs and outputs at the vendor."""

    @field_validator("fetch_hosts", "buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("notify_secret")
    @classmethod
    def _is_whsec(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in value.get_secret_value().split(",") if value else ():
            try:
                key = base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if len(key) < _MIN_KEY:
                raise ValueError("must be whsec_ and at least 24 bytes in base64, or several of them")
        return value

    @field_validator("output")
    @classmethod
    def _is_s3(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not value.startswith("s3://") or not value.removeprefix("s3://").strip("/"):
            raise ValueError("must look like s3://bucket/prefix/")
        return value if value.endswith("/") else value + "/"

    @field_validator("public_url", "wiro_api_url", "wiro_socket_url")
    @classmethod
    def _no_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else None


def environment_name(field: str) -> str:
    """The environment variable that sets `field`."""
    return _PLAIN_NAMES.get(field, f"PIPELINE_{field.upper()}")


def load(environ: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """Read the settings. `file` defaults to `PIPELINE_CONFIG`, then `config/pipeline.yaml` where there is one.

    An empty environment variable counts as not set.

    Raises InvalidSettings, naming each wrong setting and where it was set.
    """
    environ = os.environ if environ is None else environ
    file = file or Path(environ.get("PIPELINE_CONFIG") or CONFIG)
    values = _from_file(file)
    source = dict.fromkeys(values, str(file))
    for name in Settings.model_fields:
        variable = environment_name(name)
        if environ.get(variable):
            values[name] = environ[variable]
            source[name] = variable
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [f"{source.get(str(e['loc'][0]), file)}: {e['loc'][0]}: {e['msg']}" for e in error.errors()]
        raise InvalidSettings("\n".join(lines)) from None


def _from_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InvalidSettings(f"{file}: not YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidSettings(f"{file}: must be a mapping of settings")
    return values
