"""What may stand in a manifest, as pydantic models. The rules for single values are in manifest_values.py."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from pipeline.manifest.values import (
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
    validate_tolerance,
    validate_usd,
    validate_version,
)

_FORBID = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

_NOT_EMPTY = Field(min_length=1)

Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Image = Annotated[str, AfterValidator(validate_image)]
Params = Annotated[
    dict[Annotated[str, AfterValidator(validate_param_name)], Annotated[Any, AfterValidator(validate_param)]],
    AfterValidator(validate_params),
]
Whole = Annotated[int, Field(strict=True)]


class ItemEntry(TypedDict, total=False):
    """One of `items:`, or a row. An empty value is one that is not given."""

    __pydantic_config__ = _FORBID  # type: ignore[misc]  # how pydantic configures a TypedDict

    id: Annotated[str, AfterValidator(validate_item_id)] | None
    image: Image | None
    prompt: Prompt | None
    params: Params | None


def _whole_item(item: ItemEntry) -> ItemEntry:
    if not item.get("image") and not item.get("prompt"):
        raise ValueError("needs an image, a prompt or both")
    return item


ITEMS = TypeAdapter(list[Annotated[ItemEntry, AfterValidator(_whole_item)]])


class MatrixEntry(BaseModel):
    """`matrix:`, every image with every prompt."""

    model_config = _FORBID

    images: Annotated[list[Annotated[Image, _NOT_EMPTY]], _NOT_EMPTY, BeforeValidator(validate_entries)]
    prompts: Annotated[list[Annotated[Prompt, _NOT_EMPTY]], _NOT_EMPTY, BeforeValidator(validate_entries)]


class LimitsEntry(BaseModel):
    """`limits:`."""

    model_config = _FORBID

    max_active: Annotated[Whole, Field(ge=1, le=100_000)] | None = None
    budget_usd: Annotated[Decimal, BeforeValidator(validate_usd)] | None = None
    attempts: Annotated[Whole, Field(ge=1, le=20)] | None = None
    tolerated_failures: Annotated[str, AfterValidator(validate_tolerance)] | None = None
    deadline: Annotated[str, AfterValidator(validate_deadline)] | None = None


class ManifestEntry(BaseModel):
    """A manifest as it is written. `items` are validated by ITEMS, a handful at a time."""

    model_config = _FORBID

    version: Annotated[int, BeforeValidator(validate_version)]
    name: Annotated[str, AfterValidator(validate_name)]
    model: Annotated[str, AfterValidator(validate_model)] | None = None
    output: Annotated[str, AfterValidator(validate_output)] | None = None
    image_field: Annotated[str, AfterValidator(validate_image_field)] | None = None
    params: Params | None = None
    limits: LimitsEntry | None = None
    notify: Annotated[str, AfterValidator(validate_notify)] | None = None
    items: list[Any] | None = None
    matrix: MatrixEntry | None = None
    items_from: Annotated[str, AfterValidator(validate_items_from)] | None = None


TEXT_KEYS = frozenset(
    {
        *("id", "image", "prompt", "images", "prompts", "name", "model", "output", "image_field", "notify"),
        *("items_from", "budget_usd", "tolerated_failures", "deadline"),
    }
)
"""Keys whose values are text as written: `id: 007` is "007", `budget_usd: 25.00` has its cents."""
FREE_KEYS = frozenset({"params"})
"""Keys under which everything means what it looks like."""
