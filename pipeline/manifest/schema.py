"""The manifest as pydantic models. The rules for single values are in validators.py."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from pipeline.domain.durations import parse_duration
from pipeline.domain.model import Limits
from pipeline.manifest.validators import (
    MAX_PROMPT,
    validate_deadline,
    validate_entries,
    validate_image,
    validate_image_field,
    validate_item_id,
    validate_items_from,
    validate_model,
    validate_name,
    validate_notify,
    validate_output,
    validate_param,
    validate_param_name,
    validate_params,
    validate_prompt,
    validate_tolerance,
    validate_usd,
    validate_version,
)

MODEL_CONFIG = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
"""For models of files: unknown keys are errors, numbers are accepted as text."""

_NOT_EMPTY = Field(min_length=1)

Name = Annotated[str, AfterValidator(validate_name)]
Model = Annotated[str, AfterValidator(validate_model)]
Output = Annotated[str, AfterValidator(validate_output)]
ImageField = Annotated[str, AfterValidator(validate_image_field)]
Notify = Annotated[str, AfterValidator(validate_notify)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT), AfterValidator(validate_prompt)]
Image = Annotated[str, AfterValidator(validate_image)]
Params = Annotated[
    dict[Annotated[str, AfterValidator(validate_param_name)], Annotated[Any, AfterValidator(validate_param)]],
    AfterValidator(validate_params),
]
Whole = Annotated[int, Field(strict=True)]
Reuse = Annotated[bool, Field(strict=True)]
MAX_ATTEMPTS = 20


class ItemEntry(TypedDict, total=False):
    """One of `items:`, or a row. An empty value is the same as none."""

    __pydantic_config__ = MODEL_CONFIG  # type: ignore[misc]  # how pydantic configures a TypedDict

    id: Annotated[str, AfterValidator(validate_item_id)] | None
    image: Image | None
    prompt: Prompt | None
    params: Params | None


def _validate_item(item: ItemEntry) -> ItemEntry:
    if not item.get("image") and not item.get("prompt"):
        raise ValueError("needs an image, a prompt or both")
    return item


ITEMS = TypeAdapter(list[Annotated[ItemEntry, AfterValidator(_validate_item)]])


class MatrixEntry(BaseModel):
    """`matrix:`, every image with every prompt."""

    model_config = MODEL_CONFIG

    images: Annotated[list[Annotated[Image, _NOT_EMPTY]], _NOT_EMPTY, BeforeValidator(validate_entries)]
    prompts: Annotated[list[Annotated[Prompt, _NOT_EMPTY]], _NOT_EMPTY, BeforeValidator(validate_entries)]


class LimitsEntry(BaseModel):
    """`limits:`."""

    model_config = MODEL_CONFIG

    max_active: Annotated[Whole, Field(ge=1, le=100_000)] | None = None
    budget_usd: Annotated[Decimal, BeforeValidator(validate_usd)] | None = None
    attempts: Annotated[Whole, Field(ge=1, le=MAX_ATTEMPTS)] | None = None
    tolerated_failures: Annotated[str, AfterValidator(validate_tolerance)] | None = None
    deadline: Annotated[str, AfterValidator(validate_deadline)] | None = None

    def as_limits(self, *, attempts: int = Limits.attempts) -> Limits:
        """Return the limits. `attempts`: what a missing number of attempts means."""
        return Limits(
            max_active=self.max_active,
            budget_usd=self.budget_usd,
            attempts=self.attempts or attempts,
            tolerated_failures=self.tolerated_failures,
            deadline_s=parse_duration(self.deadline) if self.deadline else None,
        )


class ManifestEntry(BaseModel):
    """A manifest as it is written. `items` are validated separately, as ITEMS."""

    model_config = MODEL_CONFIG

    version: Annotated[int, BeforeValidator(validate_version)]
    name: Name
    model: Model | None = None
    output: Output | None = None
    image_field: ImageField | None = None
    params: Params | None = None
    limits: LimitsEntry | None = None
    notify: Notify | None = None
    reuse: Reuse | None = None
    items: list[Any] | None = None
    matrix: MatrixEntry | None = None
    items_from: Annotated[str, AfterValidator(validate_items_from)] | None = None


TEXT_KEYS = frozenset(
    {
        *("id", "image", "prompt", "images", "prompts", "name", "model", "output", "image_field", "notify"),
        *("items_from", "budget_usd", "tolerated_failures", "deadline"),
    }
)
"""Keys whose values are text as written: `id: 007` is "007", `budget_usd: 25.00` keeps its cents."""
FREE_KEYS = frozenset({"params"})
"""Keys below which TEXT_KEYS do not apply."""
