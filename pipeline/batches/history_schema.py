"""Which journal entries and rows of results.json a recovery accepts: the bucket may have other writers. Pure.

An entry whose item id is not valid is of no item of this service: it is ignored. Any other damage is reported, because
the entry may be the only record of a run that was paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.domain.ids import is_item_id
from pipeline.domain.money import MAX_USD
from pipeline.domain.results import row_from_document
from pipeline.domain.states import ItemState
from pipeline.errors import DamagedRecord

_MAX_ATTEMPT = 1_000_000
MAX_REVISION = 1_000_000
_MAX_NAME = 1024
_MAX_SHOWN = 300
_SHOWN = ("do", "id", "item", "attempt")

ModelT = TypeVar("ModelT", bound=BaseModel)


def _check_outcome(outcome: dict[str, Any]) -> dict[str, Any]:
    ItemState(outcome["status"])
    row_from_document({**outcome, "id": ""})
    return outcome


_Name = Annotated[str, Field(max_length=_MAX_NAME)]
_Usd = Annotated[Decimal, Field(ge=0, le=MAX_USD, allow_inf_nan=False)]


class _Spec(BaseModel):
    image: str | None = None
    prompt: str | None = None
    params: dict[str, Any] = {}
    take_of: str | None = None


class _Entry(BaseModel):
    """What an entry of any kind may contain. `storage/journal.py` describes the kinds."""

    model_config = ConfigDict(extra="ignore")

    do: str
    item: str | None = None
    attempt: Annotated[int, Field(ge=0, le=_MAX_ATTEMPT)] = 0
    task: _Name = ""
    token: _Name = ""
    found_by: _Name | None = None
    reuse_key: _Name | None = None
    reused_from: _Name | None = None
    cost_usd: _Usd = Decimal(0)
    outcome: Annotated[dict[str, Any], AfterValidator(_check_outcome)] | None = None
    spec: _Spec | None = None
    states: list[str] | None = None
    items: list[str] | None = None
    mark: Literal["approved", "rejected"] | None = None
    note: str = ""
    reason: str = ""
    revision: Annotated[int, Field(ge=0, le=MAX_REVISION)] = 0


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    cost_usd: _Usd = Decimal(0)
    task_id: _Name | None = None
    found_by: _Name | None = None
    charged_usd: _Usd = Decimal(0)
    run: Annotated[int, Field(ge=0, le=_MAX_ATTEMPT)] | None = None
    reuse_key: _Name | None = None
    reused_from: _Name | None = None


def accepts_entry(entry: Mapping[str, Any]) -> bool:
    """Return False for an entry of an item that cannot be one of this service. Raises DamagedRecord."""
    validated = _validate(_Entry, entry)
    return validated.item is None or is_item_id(validated.item)


def accepts_row(row: Mapping[str, Any]) -> bool:
    """Return False for a row of results.json whose item cannot be one of this service. Raises DamagedRecord."""
    validated = _validate(_Row, row)
    try:
        _check_outcome(dict(row))
        _Spec.model_validate(dict(row))
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise damaged(row, error) from None
    return is_item_id(validated.id)


def damaged(document: Mapping[str, Any], error: Exception) -> DamagedRecord:
    """Return the error about an entry of the journal, or a row of results.json, that cannot be read."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    else:
        reason = f"{type(error).__name__}: {error}"
    shown = {name: document[name] for name in _SHOWN if name in document}
    return DamagedRecord(
        f"The journal or results.json has an entry that cannot be read ({reason[:_MAX_SHOWN]}): "
        f"{repr(shown)[:_MAX_SHOWN]}. Correct it or delete it on S3. It may be the only record of a paid run."
    )


def _validate(model: type[ModelT], document: Mapping[str, Any]) -> ModelT:
    try:
        return model.model_validate(document)
    except (ValidationError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise damaged(document, error) from None
