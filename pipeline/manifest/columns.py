"""What the columns of a table mean: id, image, prompt, a parameter of the model, or nothing. Pure.

Names are compared without case, blanks and punctuation: `Image URL`, `image_url` and `Prompt ` are ours.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import product, zip_longest

from pipeline.domain.plain_text import strip_blanks
from pipeline.manifest.messages import did_you_mean, listed
from pipeline.manifest.validators import param_name_error
from pipeline.manifest.yaml.decoder import shown
from pipeline.manifest.yaml.positions import Position

MAX_COLUMNS = 200


class Use(StrEnum):
    """What the cells of a column are."""

    ID = "id"
    NAME = "name"
    """Text that ids are made from."""
    IMAGE = "image"
    PROMPT = "prompt"
    PARAM = "param"
    IGNORED = "ignored"
    UNNAMED = "unnamed"
    WRONG = "wrong"
    """No cell may have a value: `error` of the column is the reason."""


VALUES = frozenset({Use.ID, Use.NAME, Use.IMAGE, Use.PROMPT, Use.PARAM})
"""Uses of columns whose cells are values of items."""
_EXACT = {"id": Use.ID, "image": Use.IMAGE, "prompt": Use.PROMPT}
_IMAGE_NAMES = {
    "".join(parts)
    for parts in product(
        ("image", "img", "picture", "pic", "photo", "attachment"),
        ("", "s"),
        ("", "url", "uri", "link", "src", "file", "filename", "path"),
    )
}
_ALIASES = {
    **dict.fromkeys(("id", "itemid"), Use.ID),
    **dict.fromkeys(("name",), Use.NAME),
    **dict.fromkeys(("prompt", "prompts", "prompttext", "textprompt"), Use.PROMPT),
    **dict.fromkeys(_IMAGE_NAMES, Use.IMAGE),
}
_NOT_COMPARED = re.compile(r"[\W_]+")
_IN_BRACKETS = re.compile(r"\([^)]*\)|\[[^]]*\]")
"""What a person adds to a name for others: `Prompt (English, max. 500)`."""
_TYPO_SIMILARITY = 0.8
_MAX_COMPARED = 64
"""Longer names take long to compare."""


@dataclass(frozen=True)
class Column:
    """A column, or a key of JSON rows. `header`: its name as written, without blanks around it."""

    header: str
    use: Use
    param: str = ""
    """The name of the parameter that it is."""
    error: str = ""
    at: Position | None = None
    """Where its header is; None in a row of JSON."""

    @property
    def key(self) -> str:
        """The key of an item, or the name of the parameter, that its cells are the values of."""
        return self.param or ("id" if self.use is Use.NAME else str(self.use))

    @property
    def meaning(self) -> str:
        """What its cells become, for people."""
        if self.use is Use.PARAM:
            return f"parameter {self.param}"
        if self.use in (Use.UNNAMED, Use.WRONG):
            return "nothing: it is empty"
        return "id, made of the text" if self.use is Use.NAME else str(self.use)


@dataclass(frozen=True)
class ColumnRules:
    """What columns a table can have.

    `parameters`: the names that the schema of `model` has, None if the schema is not known: then every other column is
    a parameter. `ignored`: names of columns that are passed over. `advice`: what to do about a column that is wrong;
    `{name}` in it is the name of the column.
    """

    image_field: str
    model: str = ""
    parameters: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()
    advice: str = "Delete the column, or pass it over: `dailies submit … --ignore-columns {name}`"

    @cached_property
    def _ignored(self) -> frozenset[str]:
        return frozenset(map(comparable, self.ignored))

    @cached_property
    def _spellings(self) -> dict[str, str]:
        """The parameters by what of their names is compared, without those that are the same by that."""
        names = [comparable(one) for one in self.parameters or ()]
        return {name: one for name, one in zip(names, self.parameters or (), strict=True) if names.count(name) == 1}

    def columns(self, headers: Iterable[str], positions: Iterable[Position] = ()) -> list[Column]:
        """Return what each column means. `positions`: those of the headers."""
        found = [replace(self._column(strip_blanks(header)), at=at) for header, at in zip_longest(headers, positions)]
        if self.parameters is None:
            used = {column.use for column in found}
            found = [self._without_typo(column, used) for column in found]
        return list(self._without_duplicates(found))

    def count_known(self, headers: Iterable[str]) -> int:
        """Return how many of these names have a meaning of their own."""
        return sum(1 for column in map(self._column, headers) if column.use in VALUES and column.use is not Use.PARAM)

    def unknown_ignored(self, headers: Iterable[str]) -> list[str]:
        """Return a message for each name of `ignored` that no column has."""
        names = list(headers)
        keys = set(map(comparable, names))
        return [
            f"there is no column {shown(name)} to ignore: {did_you_mean(name, names) or f'write {listed(names)}'}"
            for name in self.ignored
            if comparable(name) not in keys
        ]

    def _column(self, header: str) -> Column:
        name = comparable(header)
        if name in self._ignored:
            return Column(header, Use.IGNORED)
        if not header:
            return Column(header, Use.UNNAMED)
        if exact := _EXACT.get(header.casefold()):
            return Column(header, exact)
        if header in (self.image_field, f"{self.image_field}Url"):
            return Column(header, Use.IMAGE)
        if header in (self.parameters or ()):
            return Column(header, Use.PARAM, header)
        if alias := _ALIASES.get(name) or _ALIASES.get(comparable(_IN_BRACKETS.sub("", header))):
            return Column(header, alias)
        return self._param(header, name)

    def _param(self, header: str, name: str) -> Column:
        param = self._spellings.get(name, header)
        error = param_name_error(param, self.image_field)
        if header == "params":
            error = "cannot be one: give each param a column with its name"
        if error:
            return Column(header, Use.WRONG, error=f"the column {shown(header)} {error}")
        if self.parameters is not None and param not in self.parameters:
            return Column(header, Use.WRONG, error=self._unknown(header))
        return Column(header, Use.PARAM, param)

    def _unknown(self, header: str) -> str:
        parameters = [one for one in self.parameters or () if one not in _EXACT]
        known = f"its parameters are {listed(parameters)}." if parameters else "it has none besides image and prompt."
        hint = did_you_mean(header, [*_EXACT, *parameters]) or known
        return f"the model {self.model} has no parameter {shown(header)}: {hint} {self._advice(header)}"

    def _without_typo(self, column: Column, used: set[Use]) -> Column:
        """Return a column as wrong if its name is almost `image` or `prompt`, and no other column is."""
        name = comparable(column.header)
        meant = _similar(name) if column.use is Use.PARAM else None
        if meant is None or meant in used:
            return column
        message = f"the column {shown(column.header)} is unknown: did you mean '{meant}'?"
        return replace(column, use=Use.WRONG, param="", error=f"{message} {self._advice(column.header)}")

    def _without_duplicates(self, columns: Sequence[Column]) -> Iterable[Column]:
        """Yield columns; one that means the same as one before it is wrong."""
        first: dict[str, Column] = {}
        for column in columns:
            if column.use in VALUES:
                other = first.setdefault(column.key.casefold(), column)
                if other is not column:
                    column = replace(column, use=Use.WRONG, param="", error=self._duplicate(column, other))
            yield column

    def _duplicate(self, column: Column, other: Column) -> str:
        if column.header == other.header:
            return f"the column {shown(column.header)} is a duplicate: keep one"
        both = f"the columns {shown(other.header)} and {shown(column.header)} both are the {other.key}"
        return f"{both}: keep one. {self._advice(column.header)}"

    def _advice(self, header: str) -> str:
        name = header if re.fullmatch(r"[\w-]{1,40}", header) else shown(header)
        return self.advice.replace("{name}", name)


@lru_cache(1024)
def _similar(name: str) -> Use | None:
    """Return what a name is almost, IMAGE or PROMPT. A name with a digit is meant as it is: `image2`."""
    if len(name) > _MAX_COMPARED or any(map(str.isdigit, name)):
        return None
    known = [alias for alias, use in _ALIASES.items() if use in (Use.IMAGE, Use.PROMPT)]
    similar = get_close_matches(name, known, 1, _TYPO_SIMILARITY)
    return _ALIASES[similar[0]] if similar else None


def comparable(name: str) -> str:
    """Return what of a column's name is compared."""
    return _NOT_COMPARED.sub("", name.casefold()) or name.casefold().strip()


def split_names(text: str) -> list[str]:
    """Return the names of columns in a list with commas, in which `"…"` can be around a name."""
    return [name for name in next(csv.reader([text], skipinitialspace=True), []) if name.strip()]
