"""What may stand in a manifest, as pydantic models. The rules for single values are in manifest_values.py."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from pipeline.manifest.values import (
    MOST_PROMPT,
    right_deadline,
    right_entries,
    right_image,
    right_image_field,
    right_item_id,
    right_items_from,
    right_model,
    right_name,
    right_notify,
    right_output,
    right_param,
    right_param_name,
    right_params,
    right_tolerance,
    right_usd,
    right_version,
)

_FORBID = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

_NOT_EMPTY = Field(min_length=1)

Prompt = Annotated[str, Field(max_length=MOST_PROMPT)]
Image = Annotated[str, AfterValidator(right_image)]
Params = Annotated[
    dict[Annotated[str, AfterValidator(right_param_name)], Annotated[Any, AfterValidator(right_param)]],
    AfterValidator(right_params),
]
Whole = Annotated[int, Field(strict=True)]


class ItemEntry(TypedDict, total=False):
    """One of `items:`, or a row. An empty value is one that is not given."""

    __pydantic_config__ = _FORBID  # type: ignore[misc]  # how pydantic configures a TypedDict

    id: Annotated[str, AfterValidator(right_item_id)] | None
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

    images: Annotated[list[Annotated[Image, _NOT_EMPTY]], _NOT_EMPTY, BeforeValidator(right_entries)]
    prompts: Annotated[list[Annotated[Prompt, _NOT_EMPTY]], _NOT_EMPTY, BeforeValidator(right_entries)]


class LimitsEntry(BaseModel):
    """`limits:`."""

    model_config = _FORBID

    max_active: Annotated[Whole, Field(ge=1, le=100_000)] | None = None
    budget_usd: Annotated[Decimal, BeforeValidator(right_usd)] | None = None
    attempts: Annotated[Whole, Field(ge=1, le=20)] | None = None
    tolerated_failures: Annotated[str, AfterValidator(right_tolerance)] | None = None
    deadline: Annotated[str, AfterValidator(right_deadline)] | None = None


class ManifestEntry(BaseModel):
    """A manifest as it is written. `items` are validated by ITEMS, a handful at a time."""

    model_config = _FORBID

    version: Annotated[int, BeforeValidator(right_version)]
    name: Annotated[str, AfterValidator(right_name)]
    model: Annotated[str, AfterValidator(right_model)] | None = None
    output: Annotated[str, AfterValidator(right_output)] | None = None
    image_field: Annotated[str, AfterValidator(right_image_field)] | None = None
    params: Params | None = None
    limits: LimitsEntry | None = None
    notify: Annotated[str, AfterValidator(right_notify)] | None = None
    items: list[Any] | None = None
    matrix: MatrixEntry | None = None
    items_from: Annotated[str, AfterValidator(right_items_from)] | None = None


TEXT_KEYS = frozenset(
    {
        *("id", "image", "prompt", "images", "prompts", "name", "model", "output", "image_field", "notify"),
        *("items_from", "budget_usd", "tolerated_failures", "deadline"),
    }
)
"""Keys whose values are text as written: `id: 007` is "007", `budget_usd: 25.00` has its cents."""
FREE_KEYS = frozenset({"params"})
"""Keys under which everything means what it looks like."""
