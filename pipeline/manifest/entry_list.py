"""YAML files that are one list of named entries: schedules.yaml and triggers.yaml. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from pipeline.errors import Problem
from pipeline.manifest.messages import problems_of
from pipeline.manifest.validators import context_of
from pipeline.manifest.yaml.decoder import shown
from pipeline.manifest.yaml.document import PathProblem, in_order, load
from pipeline.manifest.yaml.positions import Path

MAX_BYTES = 1_000_000
MAX_ENTRIES = 1000

EntryList = Annotated[list[Any], Field(max_length=MAX_ENTRIES)]
"""The type of the only field of a file's model."""
Entry = TypeVar("Entry", bound=BaseModel)
EntryCheck = Callable[[Mapping[str, Any], Path], Iterable[PathProblem]]
"""Yields the problems of an entry as it is written, at a path: rules between its keys."""


def read_entries(
    text: bytes,
    *,
    file: str,
    file_model: type[BaseModel],
    entry_model: type[Entry],
    text_keys: frozenset[str],
    free_keys: frozenset[str] = frozenset(),
    check: EntryCheck = lambda entry, path: (),
) -> tuple[list[Entry], list[Problem]]:
    """Return the valid entries and all problems, each with its position.

    `file_model` has one field, an EntryList. `text_keys` and `free_keys` are those of `document.load`.
    """
    document = load(text, file=file, max_bytes=MAX_BYTES, text_keys=text_keys, free_keys=free_keys)
    if not document.readable:
        return [], document.problems
    key = next(iter(file_model.model_fields))
    problems: list[PathProblem] = []
    try:
        file_model.model_validate(document.value)
    except ValidationError as error:
        problems += problems_of(error, file_model)
    valid: list[Entry] = []
    for number, entry in enumerate(_entries(document.value, key)):
        try:
            valid.append(entry_model.model_validate(entry, context=context_of(entry, None)))
        except ValidationError as error:
            problems += problems_of(error, entry_model, at=(key, number))
        if isinstance(entry, dict):
            problems += check(entry, (key, number))
    problems += _duplicate_names(_entries(document.value, key), key)
    found = [*document.problems, *document.locate(problems)]
    return valid, in_order([*document.odd_spaces(), *found]) if found else []


def _entries(value: Any, key: str) -> list[Any]:
    entries = value.get(key) if isinstance(value, dict) else None
    return entries if isinstance(entries, list) and len(entries) <= MAX_ENTRIES else []


def _duplicate_names(entries: list[Any], key: str) -> Iterator[PathProblem]:
    names: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and name in names:
            yield PathProblem((key, number, "name"), f"name must be unique: two {key} are named {shown(name)}")
        names.add(str(name))
