"""The options of the sandbox: prices, durations and faults."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Usd = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]

FIXED = frozenset({"api_key", "api_secret", "seed"})
"""Options that cannot be changed while the sandbox runs."""


class Options(BaseModel):
    """All options. A share is a probability from 0 to 1 for each request, task or download. All faults default to 0.

    These are the names of the command's flags and of the keys of `PATCH /_sandbox/options`. Each description is the
    help of the flag.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key: SecretStr = SecretStr("sandbox-key")
    api_secret: SecretStr | None = SecretStr("sandbox-secret")
    seed: int = Field(default=0, description="Seed of every random decision.")
    balance: Usd = Field(
        default=Decimal(1000), description="USD in the account. Up to 250 USD, one task per 10 USD may be active."
    )
    price: Usd = Field(
        default=Decimal("0.09"), description="USD for each task that succeeds, of a model that states no price."
    )
    task_s: Seconds = Field(default=1.0, description="Seconds that a task runs, plus or minus 20 %.")
    queue_s: Seconds = Field(default=0.0, description="Seconds that a task waits in the queue before it runs.")
    run_s: Seconds = Field(default=0.0, description="Seconds until a Run is taken and its response is sent.")
    output_bytes: Annotated[int, Field(ge=0, le=10**10)] = Field(
        default=0, description="Size of outputs in arbitrary bytes, without a look at the image; 0: videos."
    )

    strict_nonce: bool = Field(default=False, description="Accept each nonce once.")
    account_refusal: Literal["", "suspended", "permission", "spend-limit", "ip"] = Field(
        default="",
        description="Refuse every Run (permission: tasks too; ip: everything): suspended, permission, spend-limit, ip.",
    )
    model_refused: str = Field(default="", description="Model that the team may not run, `owner/name`.")

    charge_factor: Usd = Field(default=Decimal(1), description="Multiple of its price that a task is charged.")
    kill_charged: Share = Field(default=0.0, description="Share of killed tasks that are charged.")
    kill_refused: Share = Field(default=0.0, description="Share of Kill and Cancel requests that are refused.")

    fail: Share = Field(default=0.0, description="Share of tasks that fail.")
    stuck: Share = Field(default=0.0, description="Share of tasks that never end.")
    vanish: Share = Field(default=0.0, description="Share of tasks that are lost after they were taken.")

    task_error: Share = Field(
        default=0.0, description="Share of tasks that have the status task_error for a while and go on."
    )
    without_pexit: Share = Field(
        default=0.0, description="Share of tasks without pexit and totalcost in Task/Detail and callbacks."
    )
    quoted_categories: bool = Field(default=False, description="Send categories as text that is not JSON.")
    list_refused: bool = Field(default=False, description="Refuse Task/List.")
    list_without_callbackurl: bool = Field(default=False, description="Leave callbackurl out of Task/List.")

    rate_limit: Share = Field(
        default=0.0, description="Share of API requests with status 429, half of them with Retry-After."
    )
    server_error: Share = Field(
        default=0.0, description="Share of API requests with status 500, 502 or 503 and no effect."
    )
    lose_answers: Share = Field(
        default=0.0, description="Share of Runs that are taken, then closed without a response."
    )
    bad_gateway: Share = Field(
        default=0.0, description="Share of Runs that are taken, then get status 502, as from a proxy."
    )
    hang: Share = Field(
        default=0.0, description="Share of API requests that take effect and get no response for 120 s."
    )
    not_json: Share = Field(
        default=0.0, description="Share of API requests that take effect and get an HTML page as response."
    )
    string_errors: Share = Field(
        default=0.0, description="Share of refusals whose errors are plain strings without a code."
    )

    lose_callbacks: Share = Field(default=0.0, description="Share of callbacks that are never sent.")
    double_callbacks: Share = Field(default=0.0, description="Share of callbacks that are sent twice.")
    early_callbacks: Share = Field(
        default=0.0, description="Share of tasks that end and call back before the response to Run."
    )
    callback_delay_s: Seconds = Field(
        default=0.0, description="Longest delay of a callback, in seconds; each waits for a random part of it."
    )
    wrong_shape: Share = Field(default=0.0, description="Share of callbacks with an odd body.")

    slow_download: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Bytes a second of a download; 0: no limit."
    )
    truncate: Share = Field(default=0.0, description="Share of downloads that are cut off in the middle.")
    overlong: Share = Field(default=0.0, description="Share of outputs that are larger than Task/Detail states.")
    cdn_error: Share = Field(default=0.0, description="Share of downloads with status 404 or 503.")
    cdn_hang: Share = Field(default=0.0, description="Share of downloads that stop in the middle and stay open.")
    expire_urls: Share = Field(default=0.0, description="Share of tasks whose first output URL has expired.")

    prompt_faults: bool = Field(default=False, description="Take each task's faults from its prompt: docs/sandbox.md.")

    def changed(self, changes: Mapping[str, Any]) -> Options:
        """Return these options with `changes` applied. Raises ValueError if a name or a value is invalid."""
        fixed = sorted(FIXED & changes.keys())
        if fixed:
            raise ValueError(f"cannot be changed while the sandbox runs: {', '.join(fixed)}")
        try:
            return Options.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    def public(self) -> dict[str, Any]:
        """Return the options as JSON, without the secrets."""
        return self.model_dump(mode="json", exclude={"api_key", "api_secret"})


def explain(error: ValidationError) -> str:
    """Return one line per invalid option, without the values: one may be a secret."""
    return "\n".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
