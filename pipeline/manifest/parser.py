"""Manifests: text becomes a Manifest, or all its mistakes at once with their places. Pure but for what it is given.

While all is right no place is kept and no text is read twice; see yaml_text.py. The schema is in manifest_schema.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.domain.model import Item, Limits, Manifest
from pipeline.errors import DailiesError, InvalidManifest, Problem, StorageError
from pipeline.manifest.messages import problems_of
from pipeline.manifest.rows import Rows, read_rows
from pipeline.manifest.schema import FREE_KEYS, ITEMS, TEXT_KEYS, ItemEntry, LimitsEntry, ManifestEntry
from pipeline.manifest.template import Fill, filled, filled_items
from pipeline.manifest.values import DEFAULT_IMAGE_FIELD, DEFAULT_MODEL, MAX_ITEMS, ValidationContext, seconds_of
from pipeline.manifest.yaml.decoder import MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import MAX_BYTES, Document, Mistake, in_order, load

__all__ = ["DEFAULT_MODEL", "MAX_BYTES", "MAX_ITEMS", "derived_id", "dump", "parse"]

_HANDFUL = 100
_STAND_IN = {"version": 1, "name": "unnamed"}
"""For what is missing or wrong, so that the rest can be looked at."""


def parse(
    text: bytes,
    *,
    file: str,
    read_rows: Callable[[str], bytes],
    local_files: Path | None,
    max_bytes: int = MAX_BYTES,
    fill: Fill | None = None,
) -> Manifest:
    """The manifest in `text`, expanded: matrix and rows are items, every item has an id.

    `file` is its name in messages. `read_rows` gives the bytes of what `items_from` names; what it raises is a mistake
    of the manifest, unless it may pass. `local_files` is the folder in which file images must be; None: they are
    mistakes. `fill` is given name, output and prompts; what it answers is validated.

    Raises InvalidManifest with all mistakes, StorageError.
    """
    document = load(text, file=file, max_bytes=max_bytes, text_keys=TEXT_KEYS, free_keys=FREE_KEYS)
    if not document.readable:
        raise InvalidManifest(document.problems)
    if not isinstance(document.value, dict):
        raise InvalidManifest([*document.problems, Problem(file, 1, 1, _NO_MAPPING)])
    value = filled(document.value, fill) if fill else document.value
    image_field = value.get("image_field")
    around = ValidationContext(image_field if isinstance(image_field, str) else DEFAULT_IMAGE_FIELD, local_files)
    entry, problems_found = _head(value, around)
    rows, unread = _rows(entry.items_from, file, read_rows, around)
    problems_found += unread
    if fill:
        rows.items = filled_items(rows.items, fill)
    written, below = _Part(entry.items or [], _within(document, "items")), _Part(rows.items, rows.located)
    problems_found += _wrong_number(entry, rows, problems_found)
    if problems_found[-1:] != [_TOO_MANY]:
        written.check(around)
        below.check(around)
        _check_ids([written, below])
    problems = [
        *in_order([*document.problems, *document.located(problems_found), *written.problems()]),
        *in_order([*rows.problems, *below.problems()]),
    ]
    if problems:
        raise InvalidManifest(_first_of(problems))
    pairs = product(entry.matrix.images, entry.matrix.prompts) if entry.matrix else ()
    matrix: list[ItemEntry] = [{"image": image, "prompt": prompt} for image, prompt in pairs]
    manifest = _manifest(entry, [*written.drafts, *matrix, *below.drafts])
    if manifest is None:
        raise InvalidManifest([Problem(file, 1, 1, _TOO_LONG)])
    return manifest


def derived_id(image: str | None, prompt: str | None, params: Mapping[str, Any]) -> str:
    """The id of an item that was given none: 12 hexadecimal digits of its content."""
    return hashlib.sha256(_canonical([image, prompt, params]).encode()).hexdigest()[:12]


def dump(manifest: Manifest) -> bytes:
    """The manifest as YAML, an item a line, which `parse` reads back as the same."""
    limits = manifest.limits
    head = {
        "version": 1,
        "name": manifest.name,
        "model": manifest.model,
        "output": manifest.output,
        "image_field": manifest.image_field,
        "params": manifest.params or None,
        "limits": _given(
            max_active=limits.max_active,
            budget_usd=None if limits.budget_usd is None else f"{limits.budget_usd:f}",
            attempts=limits.attempts,
            tolerated_failures=limits.tolerated_failures,
            deadline=None if limits.deadline_s is None else f"{limits.deadline_s:.0f}s",
        ),
        "notify": manifest.notify,
    }
    lines = [f"{key}: {_json(value)}" for key, value in head.items() if value is not None]
    lines.append("items:")
    lines += [
        f"- {_json(_given(id=item.id, image=item.image, prompt=item.prompt, params=item.params or None))}"
        for item in manifest.items
    ]
    return _NO_YAML_TEXT.sub(_escaped, "\n".join([*lines, ""])).encode()


_NO_MAPPING = "a manifest is a mapping that begins with `version: 1`"
_ORIGINS = (("items",), ("matrix",), ("items_from",))
_TOO_MANY = Mistake((), f"there are more than {MAX_ITEMS:,} items in all: make several manifests of them")
_TOO_LONG = f"with all its items written out this is longer than {MAX_BYTES:,} bytes: make several manifests of it"
_SURELY_SHORT = 4_000_000
"""Up to so many characters of items a manifest is not too long, however they are written."""
_NO_YAML_TEXT = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON text may have as it is and YAML text may not, or takes for the end of a line."""
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_json = json.JSONEncoder(ensure_ascii=False).encode


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character.group()):04x}"


@dataclass(eq=False)
class _Part:
    """Items of one origin. `locate` gives the places of mistakes whose paths begin with the item's index."""

    raw: list[Any]
    locate: Callable[[list[Mistake]], list[Problem]]
    drafts: list[ItemEntry] = field(default_factory=list)
    problems_found: list[Mistake] = field(default_factory=list)

    def check(self, around: ValidationContext) -> None:
        """Make drafts of the raw items. A handful with a mistake leaves only the mistakes."""
        for start in range(0, len(self.raw), _HANDFUL):
            try:
                self.drafts += ITEMS.validate_python(self.raw[start : start + _HANDFUL], context=around)
            except ValidationError as error:
                self.problems_found += problems_of(error, list[ItemEntry], first=start)
            if len(self.problems_found) > MAX_PROBLEMS:
                break

    def problems(self) -> list[Problem]:
        """The mistakes with their places."""
        return self.locate(self.problems_found) if self.problems_found else []


def _within(document: Document, key: str) -> Callable[[list[Mistake]], list[Problem]]:
    def locate(problems_found: list[Mistake]) -> list[Problem]:
        return document.located(replace(mistake, path=(key, *mistake.path)) for mistake in problems_found)

    return locate


def _head(value: dict[str, Any], around: ValidationContext) -> tuple[ManifestEntry, list[Mistake]]:
    """All but the items, and what is wrong with it. What is wrong is left out of the entry."""
    try:
        return ManifestEntry.model_validate(value, context=around), []
    except ValidationError as error:
        problems_found = problems_of(error, ManifestEntry)
        wrong = {details["loc"][0] for details in error.errors(include_url=False)}
        right = {key: part for key, part in value.items() if key not in wrong}
        return ManifestEntry.model_validate(_STAND_IN | right, context=around), problems_found


def _rows(
    reference: str | None, file: str, read: Callable[[str], bytes], around: ValidationContext
) -> tuple[Rows, list[Mistake]]:
    """The rows that `items_from` names, and why they cannot be read."""
    if reference is None:
        return Rows(file), []
    name = reference if "://" in reference else f"{file[: file.rfind('/') + 1]}{reference}"
    try:
        text = read(reference)
    except (DailiesError, OSError) as error:
        if isinstance(error, StorageError) and error.retryable:
            raise
        why = error.strerror if isinstance(error, OSError) else str(error)
        return Rows(name), [Mistake(("items_from",), f"items_from cannot be read: {why}")]
    return read_rows(text, file=name, image_field=around.image_field, max_items=MAX_ITEMS), []


def _wrong_number(entry: ManifestEntry, rows: Rows, problems_found: list[Mistake]) -> list[Mistake]:
    """What is wrong with the number of items, where mistakes in them are not the reason."""
    pairs = len(entry.matrix.images) * len(entry.matrix.prompts) if entry.matrix else 0
    number = len(entry.items or []) + pairs + len(rows.items)
    if number > MAX_ITEMS:
        return [_TOO_MANY]
    if number or rows.problems or any(mistake.path[:1] in _ORIGINS for mistake in problems_found):
        return []
    if entry.items_from is not None:
        return [Mistake(("items_from",), "items_from has no rows below its header")]
    return [Mistake(("items",), "there are no items: give `items:`, `matrix:` or `items_from:`", at_key=True)]


def _check_ids(parts: list[_Part]) -> None:
    """Note each id that an item before has, too, with the place of that one."""
    seen: dict[str, tuple[_Part, int]] = {}
    for part in parts:
        again: list[tuple[int, str]] = []
        for index, raw in enumerate(part.raw):
            item_id = raw.get("id") if type(raw) is dict else None
            if item_id is None or item_id == "" or isinstance(item_id, dict | list | bool):
                continue
            if seen.setdefault(str(item_id), (part, index)) != (part, index) and len(again) < MAX_PROBLEMS:
                again.append((index, str(item_id)))
        for origin in parts if again else []:
            twice = [(index, item_id) for index, item_id in again if seen[item_id][0] is origin]
            firsts = origin.locate([Mistake((seen[item_id][1], "id"), "") for _, item_id in twice])
            part.problems_found += [
                Mistake((index, "id"), f"the id {shown(item_id)} is taken by {first.file}:{first.line}")
                for (index, item_id), first in zip(twice, firsts, strict=True)
            ]


def _first_of(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    last = problems[MAX_PROBLEMS - 1]
    return [*problems[:MAX_PROBLEMS], replace(last, message=f"there are more mistakes: these are {MAX_PROBLEMS:,}")]


def _manifest(entry: ManifestEntry, drafts: list[ItemEntry]) -> Manifest | None:
    """The manifest with these items; None when it would be too long to be kept."""
    length = _length(drafts)
    if length > MAX_BYTES:
        return None
    limits = entry.limits or LimitsEntry()
    manifest = Manifest(
        name=entry.name,
        model=entry.model or DEFAULT_MODEL,
        output=entry.output,
        image_field=entry.image_field or DEFAULT_IMAGE_FIELD,
        params=entry.params or {},
        limits=Limits(
            max_active=limits.max_active,
            budget_usd=limits.budget_usd,
            attempts=limits.attempts or Limits.attempts,
            tolerated_failures=limits.tolerated_failures,
            deadline_s=seconds_of(limits.deadline) if limits.deadline else None,
        ),
        notify=entry.notify,
        items=tuple(_items(drafts)),
    )
    return manifest if length <= _SURELY_SHORT or _fits(manifest) else None


def _items(drafts: list[ItemEntry]) -> Iterator[Item]:
    """Items with ids. Equal content without ids is meant as so many takes: `…`, `…-2`, `…-3`."""
    taken = {draft.get("id") for draft in drafts}
    takes: Counter[str] = Counter()
    for draft in drafts:
        image, prompt, params = draft.get("image") or None, draft.get("prompt") or None, draft.get("params") or {}
        item_id = draft.get("id")
        if not item_id:
            content = derived_id(image, prompt, params)
            while not item_id or item_id in taken:
                takes[content] += 1
                item_id = content if takes[content] == 1 else f"{content}-{takes[content]}"
        yield Item(item_id, image, prompt, params)


def _length(drafts: list[ItemEntry]) -> int:
    """How long the items are, roughly, in characters."""
    return sum(
        len(draft.get("image") or "") + len(draft.get("prompt") or "") + len(str(draft.get("params") or ""))
        for draft in drafts
    )


def _fits(manifest: Manifest) -> bool:
    """Whether the manifest can be kept, and read again, with all its items written out."""
    # Files get addresses when they are stored.
    files = sum(1 for item in manifest.items if item.image and "://" not in item.image)
    return len(dump(manifest)) + files * 300 <= MAX_BYTES
