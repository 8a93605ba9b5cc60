"""The params of a manifest against the schema of its model, before anything is paid. Pure.

The vendor refuses a run with a parameter that is missing or out of range (API doc). It is not documented what it does
with one that the model does not have: it may ignore it, and a run that is not what was meant is paid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pipeline.domain.model import Manifest
from pipeline.manifest.messages import did_you_mean, listed
from pipeline.manifest.validators import DEFAULT_IMAGE_FIELD, DEFAULT_MODEL, is_model, param_name_error
from pipeline.manifest.yaml.decoder import MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import PathProblem
from pipeline.manifest.yaml.positions import Path
from pipeline.wiro.errors import NotFound
from pipeline.wiro.model_schema import FILE_KINDS, URL_KIND, ImageField, ModelSchema, Parameter
from pipeline.wiro.values import to_param_text

SchemaOf = Callable[[str], ModelSchema | None]
"""Returns the schema of a model ("owner/name"), None if it is not known. Raises NotFound if there is no such model."""

_PROMPT = "prompt"
_NUMBER = "range"
_CHOICE = "select"
_WITH_URL_TWIN = frozenset({"fileinput", "multifileinput"})
_FILLED_BY_US = frozenset({"callbackUrl", "projectid"})
_NUMBER_TEXT = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")
_DECIMAL_COMMA = re.compile(r"[-+]?(0,[0-9]{1,18}|[0-9]{1,18},([0-9]{1,2}|[0-9]{4,18}))")
"""As tables of many countries have it. `1,500` may be either: it is refused."""


def image_field_of(given: str | None, schema: ModelSchema | None) -> ImageField | None:
    """Return the field that takes the image, and how: the one that is `given`, else the first one of the schema.

    A parameter that takes files is preferred to one that takes a URL as text. None: the model takes no image.
    """
    if schema is None or schema.parameters is None:
        return ImageField(given or DEFAULT_IMAGE_FIELD, "fileinput")
    fields = sorted(schema.image_fields, key=lambda field: field.kind == URL_KIND)
    if given is None:
        return fields[0] if fields else None
    named = next((field for field in fields if field.name == given), None)
    if named is None and any(one.id == given and one.kind not in (_NUMBER, _CHOICE) for one in schema.parameters):
        named = ImageField(given, URL_KIND)
    return named


def fit_to_schema(manifest: Manifest, schema: ModelSchema | None) -> Manifest:
    """Return a manifest as its runs are posted: the vendor's spelling of the model, numbers where it takes numbers."""
    field = image_field_of(manifest.image_field, schema)
    fitted = replace(manifest, image_field=field.name if field else manifest.image_field)
    if schema is None:
        return fitted
    numbers = frozenset(one.id for one in schema.parameters or () if one.kind == _NUMBER)
    return replace(
        fitted,
        model=schema.model,
        params=_with_numbers(manifest.params, numbers),
        items=tuple(
            replace(item, params=_with_numbers(item.params, numbers)) if item.params else item
            for item in manifest.items
        ),
    )


def default_params(schema: ModelSchema | None) -> Mapping[str, Any]:
    """Return the values that the vendor's form fills in for parameters that a run leaves out.

    The default of a prompt, a file or an image is only an example.
    """
    parameters = (schema.parameters if schema else None) or ()
    examples = {_PROMPT, *_FILLED_BY_US, *(field.name for field in (schema.image_fields if schema else ()))}
    defaults = {
        one.id: one.default
        for one in parameters
        if one.default not in (None, "") and one.kind not in FILE_KINDS and one.id not in examples
    }
    return _with_numbers(defaults, frozenset(one.id for one in parameters if one.kind == _NUMBER))


def requires_prompt(model: str, schema_of: SchemaOf | None) -> bool:
    """Return whether each run of a model needs a prompt, as far as it is known."""
    try:
        schema = schema_of(model) if schema_of else None
    except NotFound:
        return False
    if schema is None or schema.parameters is None:
        return True
    return any(one.required for one in schema.parameters if one.id == _PROMPT)


def model_check(manifest: Mapping[str, Any], schema_of: SchemaOf) -> tuple[ModelCheck | None, list[PathProblem]]:
    """Return the check for a manifest as it is written (None: its model is not described), and its head's problems."""
    model = manifest.get("model") or DEFAULT_MODEL
    if not isinstance(model, str) or not is_model(model):
        return None, []
    try:
        schema = schema_of(model)
    except NotFound:
        return None, [
            PathProblem(("model",), f"model {shown(model)} does not exist at the vendor, or is not open to you")
        ]
    if schema is None or schema.parameters is None:
        return None, []
    given = manifest.get("image_field") or None
    check = ModelCheck(schema, schema.parameters, given if isinstance(given, str) else None)
    return check, check.head(manifest)


class ModelCheck:
    """The check of one manifest as it is written. Values of a wrong type are left to the validation of manifests."""

    def __init__(self, schema: ModelSchema, parameters: tuple[Parameter, ...], image_field: str | None) -> None:
        self.model = schema.model
        self._given = image_field
        self._image = image_field_of(image_field, schema)
        self._image_names = [field.name for field in schema.image_fields]
        self._parameters = {one.id: one for one in parameters}
        self._twins = [f"{one.id}Url" for one in parameters if one.kind in _WITH_URL_TWIN]
        self._names = {*self._parameters, *self._twins}
        self._name_errors: dict[str, str] = {}
        self._required: list[Parameter] = []

    @property
    def image_field(self) -> str:
        """The name of the field that takes the image."""
        return self._image.name if self._image else self._given or DEFAULT_IMAGE_FIELD

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters that a manifest can have."""
        hidden = {self.image_field, f"{self.image_field}Url", *_FILLED_BY_US}
        return tuple(one for one in (*self._parameters, *self._twins) if one not in hidden)

    def head(self, manifest: Mapping[str, Any]) -> list[PathProblem]:
        """Return the problems of what all items share. It must be called before `items`."""
        params = _mapping(manifest.get("params"))
        self._required = [one for one in self._parameters.values() if self._is_open(one, params)]
        problems = list(self._param_problems(("params",), params))
        if self._given and self._image is None:
            message = f"must be {listed(self._image_names)}" if self._image_names else "must be left out: it has none"
            lacks = f"the model {self.model} has no field {shown(self._given)} for an image"
            problems.append(PathProblem(("image_field",), f"image_field {message}: {lacks}"))
        if matrix := _mapping(manifest.get("matrix")):
            problems += self._matrix_problems(matrix)
        return problems

    def items(self, items: Iterable[Any], columns: Collection[str] = ()) -> list[PathProblem]:
        """Return the problems of items as they are written; their paths begin with the index of the item.

        `columns`: those of a file of rows. What is wrong with a column is returned once, as a problem at its key.
        """
        problems: list[PathProblem] = []
        seen: set[str | int] = set()
        for index, item in enumerate(items):
            for problem in self._item_problems(index, item, columns) if isinstance(item, dict) else ():
                if columns and problem.at_key:
                    if problem.path[-1] in seen:
                        continue
                    seen.add(problem.path[-1])
                problems.append(problem)
            if len(problems) > MAX_PROBLEMS:
                break
        return problems

    def _is_open(self, one: Parameter, params: Mapping[str, Any]) -> bool:
        """Return whether each item must have a value for a parameter."""
        if not one.required or one.id in _FILLED_BY_US or _has(params, one):
            return False
        # The vendor's form fills a default in. The default of a prompt or an image is only an example.
        return one.default in (None, "") or one.id == _PROMPT or one.id == self.image_field

    def _matrix_problems(self, matrix: Mapping[str, Any]) -> Iterator[PathProblem]:
        given = {"image": matrix.get("images"), "prompt": matrix.get("prompts")}
        for problem in self._item_problems(0, given, ()):
            key = f"{problem.path[1]}s"
            yield PathProblem(("matrix", key) if key in matrix else ("matrix",), problem.message, at_key=True)

    def _item_problems(self, index: int, item: Mapping[str, Any], columns: Collection[str]) -> Iterator[PathProblem]:
        params = _mapping(item.get("params"))
        if item.get("prompt") and _PROMPT not in self._parameters:
            yield PathProblem((index, "prompt"), f"the model {self.model} takes no prompt", at_key=True)
        if item.get("image") and not self._image_names and self._given is None:
            yield PathProblem((index, "image"), f"the model {self.model} takes no image", at_key=True)
        yield from self._param_problems((index, "params"), params)
        for one in self._required:
            key = "image" if one.id == self.image_field else one.id
            if not (item.get(key) if key in ("image", _PROMPT) else _has(params, one)):
                path = (index, key) if key in ("image", _PROMPT) else (index, "params", key)
                message = f"{key} is missing: the model {self.model} requires it"
                yield PathProblem(path, message, at_key=bool(columns) and key not in columns)

    def _param_problems(self, at: Path, params: Mapping[str, Any]) -> Iterator[PathProblem]:
        for name, value in params.items():
            if error := self._name_error(name):
                yield PathProblem((*at, name), error, at_key=True)
            elif (one := self._parameters.get(name)) and (error := _value_error(one, value)):
                yield PathProblem((*at, name), f"{name} {error}")

    def _name_error(self, name: str) -> str:
        """Return why the model has no parameter of this name, '' if it has, or if manifests never can have it."""
        if name in self._names:
            return ""
        if name not in self._name_errors and len(self._name_errors) <= MAX_PROBLEMS:
            known = [one for one in self._parameters if one != self.image_field and one not in _FILLED_BY_US]
            known += ["image"] if self._image_names else []
            hint = did_you_mean(name, known) or f"its parameters are {listed(known)}"
            message = f"the model {self.model} has no parameter {shown(name)}: {hint}"
            self._name_errors[name] = "" if param_name_error(name, self.image_field) else message
        return self._name_errors.get(name, "")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _has(params: Mapping[str, Any], one: Parameter) -> bool:
    names = (one.id, f"{one.id}Url") if one.kind in _WITH_URL_TWIN else (one.id,)
    return any(params.get(name) not in (None, "") for name in names)


def _value_error(one: Parameter, value: Any) -> str:
    """Return what the value of a parameter must be, '' if it is."""
    if value is None or value == "":
        return ""
    if one.kind == _CHOICE and one.options:
        return _choice_error(one.options, value)
    return _number_error(one.min, one.max, value) if one.kind == _NUMBER else ""


def _choice_error(options: Collection[str], value: Any) -> str:
    wrong = next(
        (part for part in (value if isinstance(value, list) else [value]) if not _is_choice(part, options)), None
    )
    if wrong is None:
        return ""
    hint = did_you_mean(str(wrong), options)
    return f"must be {listed(options)}, not {shown(wrong)}{hint and f': {hint}'}"


def _number_error(least: Decimal | None, most: Decimal | None, value: Any) -> str:
    number = _number(value)
    if number is None:
        advice = ", written with a decimal point and without other separators" if "," in str(value) else ""
        return f"must be a number{advice}, not {shown(value)}"
    if (least is None or number >= least) and (most is None or number <= most):
        return ""
    if least is not None and most is not None:
        return f"must be between {least:f} and {most:f}, not {shown(value)}"
    bound = f"at most {most:f}" if least is None else f"at least {least:f}"
    return f"must be {bound}, not {shown(value)}"


def _is_choice(value: Any, options: Collection[str]) -> bool:
    if isinstance(value, bool):
        return str(value).lower() in {option.lower() for option in options}
    return to_param_text(value) in options


def _number(value: Any) -> Decimal | None:
    if isinstance(value, str):
        text = _number_text(value)
        return Decimal(text) if text else None
    return None if isinstance(value, bool) or not isinstance(value, int | float) else Decimal(str(value))


def _number_text(text: str) -> str:
    """Return the text of a number with a decimal point, '' if it is no number."""
    text = text.strip()
    if _DECIMAL_COMMA.fullmatch(text):
        return text.replace(",", ".")
    return text if _NUMBER_TEXT.fullmatch(text) else ""


def _with_numbers(params: Mapping[str, Any], numbers: Collection[str]) -> Mapping[str, Any]:
    """Return params with the text of these numbers as numbers."""
    texts = {name: _number_text(value) for name in numbers if isinstance(value := params.get(name), str)}
    found = {name: float(text) if "." in text else int(text) for name, text in texts.items() if text}
    return {**params, **found}
