"""What pydantic finds wrong, in words that say what would be right. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import is_typeddict

from pipeline.manifest.yaml.decoder import MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import Mistake
from pipeline.manifest.yaml.positions import Path


def problems_of(error: ValidationError, model: Any, *, at: Path = (), first: int | None = None) -> list[Mistake]:
    """The mistakes that validating a value as `model` found, where the value itself is at `at` in its document.

    A validator's ValueError says in its own words what would be right; it is put behind the name of the value.
    `first`: the value is a part of a list, and its first element has this index there. At most MOST_PROBLEMS are told.
    """
    return [_problem_of(details, model, at, first) for details in error.errors(include_url=False)[:MAX_PROBLEMS]]


def unknown(key: str, known: Iterable[str], where: str = "") -> str:
    """The message for a key that is not one of the `known`. `where`: the mapping that it is in, as people write it."""
    names = list(known)
    near = get_close_matches(key, names, 1, 0.6) if len(key) <= _MAX_COMPARED else []
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    return f"unknown key {shown(key)}{f' in {where}' if where else ''}: {hint}"


_MAX_COMPARED = 64
"""Comparing takes long for longer keys."""


def _problem_of(details: ErrorDetails, model: Any, at: Path, first: int | None) -> Mistake:
    loc = details["loc"]
    at_key = loc[-1:] == ("[key]",)
    loc = loc[:-1] if at_key else loc
    path = (*at, *loc) if first is None else (*at, first + int(loc[0]), *loc[1:])
    if details["type"] == "extra_forbidden":
        known = _fields(_model_at(model, loc[:-1]))
        return Mistake(path, unknown(str(path[-1]), known, _name_of(path[:-1])), at_key=True)
    name = _name_of(path) or "this"
    return Mistake(path, f"{name} is missing" if details["type"] == "missing" else f"{name} {_words(details)}", at_key)


def _name_of(path: Path) -> str:
    """A path as people write it, within the element of a list that it is in: `limits.attempts`."""
    steps: list[str] = []
    for step in path:
        steps = [] if isinstance(step, int) else [*steps, step if len(step) <= _MAX_COMPARED else f"{step[:20]}…"]
    return ".".join(steps)


def _words(details: ErrorDetails) -> str:
    """What the value must be, and what it is."""
    context: Mapping[str, Any] = details.get("ctx") or {}
    if details["type"] == "value_error":
        return str(context["error"])
    if context.get("min_length") == 1:
        return "must not be empty"
    must = _MUST.get(details["type"])
    told = must.format_map(context) if must else details["msg"][:1].lower() + details["msg"][1:]
    return f"{told}, not {_kind(details['input'])}"


_MUST = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "decimal_parsing": "must be a number",
    "decimal_type": "must be a number",
    "dict_type": "must be a mapping (key: value)",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "model_attributes_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "string_too_long": "must have at most {max_length:,} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be text",
    "too_long": "must have at most {max_length:,} entries",
    "too_short": "must have at least {min_length} entries",
    "tuple_type": "must be a list",
}


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value):,}"
    return shown(value) if len(str(value)) < 1000 else f"{len(str(value)):,} characters"


def _model_at(model: Any, path: Path) -> Any:
    """The model of the value at `path` within a `model`."""
    for step in path:
        models = _models(model)
        model = next((_hints(each)[str(step)] for each in models if str(step) in _hints(each)), model)
    return model


def _fields(model: Any) -> list[str]:
    return [name for each in _models(model) for name in _hints(each)]


def _models(kind: Any) -> list[Any]:
    """The models in a type: `list[Item] | None` has Item."""
    if is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return [kind]
    return [model for part in get_args(kind) for model in _models(part)]


def _hints(model: Any) -> dict[str, Any]:
    if is_typeddict(model):
        return dict(model.__annotations__)
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
