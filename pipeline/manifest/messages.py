"""pydantic's validation errors as messages for people: what is wrong and what is right. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import is_typeddict

from pipeline.domain.suggestions import most_similar
from pipeline.manifest.yaml.decoder import MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import PathProblem
from pipeline.manifest.yaml.odd_spaces import odd_space_in
from pipeline.manifest.yaml.positions import Path


def problems_of(error: ValidationError, model: Any, *, at: Path = (), first: int | None = None) -> list[PathProblem]:
    """Return the problems of a value that was validated as `model`, at most MAX_PROBLEMS.

    `at`: the path of the value in its document. `first`: the value is a part of a list, and its first element has this
    index there. The message of a validator's ValueError follows the name of the value.
    """
    return [_problem_of(details, model, at, first) for details in error.errors(include_url=False)[:MAX_PROBLEMS]]


def unknown_key(key: str, known: Iterable[str], parent: str = "") -> str:
    """Return the message for a key that is not `known`. `parent`: the name of the mapping that it is in."""
    names = list(known)
    hint = odd_space_in(key) or did_you_mean(key, names) or f"the known keys are {', '.join(names)}"
    return f"unknown key {shown(key)}{f' in {parent}' if parent else ''}: {hint}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question whether another one of `known` is meant, '' if none is similar. Case does not count."""
    similar = most_similar(name, known)
    return "" if similar is None else f"did you mean {similar!r}?"


def listed(names: Collection[str]) -> str:
    """Return names as a choice: `a, b or c`."""
    shown_names = [*names][:_MAX_SHOWN]
    more = "" if len(names) <= _MAX_SHOWN else f" and {len(names) - _MAX_SHOWN:,} more"
    return " or ".join(filter(None, [", ".join(shown_names[:-1]), "".join(shown_names[-1:])])) + more


_MAX_NAME = 64
"""How many characters of a name a message shows."""
_MAX_SHOWN = 20
"""How many choices a message lists."""


def _problem_of(details: ErrorDetails, model: Any, at: Path, first: int | None) -> PathProblem:
    loc = details["loc"]
    at_key = loc[-1:] == ("[key]",)
    loc = loc[:-1] if at_key else loc
    path = (*at, *loc) if first is None else (*at, first + int(loc[0]), *loc[1:])
    if details["type"] == "extra_forbidden":
        known = _fields(_model_at(model, loc[:-1]))
        return PathProblem(path, unknown_key(str(path[-1]), known, _name_of(path[:-1])), at_key=True)
    name = _name_of(path) or "this"
    message = "is missing" if details["type"] == "missing" else _message(details)
    return PathProblem(path, f"{name} {message}", at_key)


def _name_of(path: Path) -> str:
    """Return the name of a value within the innermost list that it is in: `limits.attempts`."""
    steps: list[str] = []
    for step in path:
        steps = [] if isinstance(step, int) else [*steps, step if len(step) <= _MAX_NAME else f"{step[:20]}…"]
    return ".".join(steps)


def _message(details: ErrorDetails) -> str:
    """Return what the value must be, and what it is."""
    context: Mapping[str, Any] = details.get("ctx") or {}
    if details["type"] == "value_error":
        return str(context["error"])
    if context.get("min_length") == 1:
        return "must not be empty"
    must = _MUST.get(details["type"])
    message = must.format_map(context) if must else details["msg"][:1].lower() + details["msg"][1:]
    return f"{message}, not {_shown(details['input'])}"


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


def _shown(value: object) -> str:
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
    """Return the model of the value at `path` within a `model`."""
    for step in path:
        fields = [_field_types(part) for part in _models(model)]
        model = next((types[str(step)] for types in fields if str(step) in types), model)
    return model


def _fields(model: Any) -> list[str]:
    return [name for part in _models(model) for name in _field_types(part)]


def _models(annotation: Any) -> list[Any]:
    """Return the models in a type: [Item] for `list[Item] | None`."""
    if is_typeddict(annotation) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _field_types(model: Any) -> dict[str, Any]:
    if is_typeddict(model):
        return dict(model.__annotations__)
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
