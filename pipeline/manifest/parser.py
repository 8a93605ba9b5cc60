"""Manifests: text becomes a Manifest, or all its problems at once with their positions.

It reads nothing but what `read_rows` and `schema_of` return and the image files in `local_files`. While there are no
problems no position is recorded and no text is parsed twice (see yaml/document.py). The pydantic models are in
schema.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.domain.model import Item, Manifest
from pipeline.errors import DailiesError, InvalidManifest, Problem, StorageError
from pipeline.manifest.columns import ColumnRules
from pipeline.manifest.item_positions import ItemPositions
from pipeline.manifest.messages import problems_of
from pipeline.manifest.model_check import ModelCheck, SchemaOf, model_check
from pipeline.manifest.rows import Rows, read_rows
from pipeline.manifest.schema import FREE_KEYS, ITEMS, TEXT_KEYS, ItemEntry, LimitsEntry, ManifestEntry, MatrixEntry
from pipeline.manifest.template import Fill, fill_items, fill_manifest
from pipeline.manifest.uploaded_images import UploadedImages
from pipeline.manifest.validators import DEFAULT_MODEL, MAX_ITEMS, ValidationContext, context_of
from pipeline.manifest.yaml.decoder import MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import MAX_BYTES, Document, PathProblem, in_order, load

__all__ = [
    "DEFAULT_MODEL", "MAX_BYTES", "MAX_ITEMS", "derived_id", "dump", "head", "parse", "parse_with_positions", "render",
]  # fmt: skip

_CHUNK = 100
"""How many items are validated together: a chunk with a problem has no valid items."""
_PLACEHOLDER = {"version": 1, "name": "unnamed"}
"""Replaces missing or invalid required keys, so that the other keys can be validated."""


def parse(
    text: bytes,
    *,
    file: str,
    read_rows: Callable[[str], bytes],
    local_files: Path | UploadedImages | None,
    max_bytes: int = MAX_BYTES,
    fill: Fill | None = None,
    schema_of: SchemaOf | None = None,
    is_accepted: bool = False,
) -> Manifest:
    """Return the manifest in `text`, see `parse_with_positions`."""
    return parse_with_positions(
        text,
        file=file,
        read_rows=read_rows,
        local_files=local_files,
        max_bytes=max_bytes,
        fill=fill,
        schema_of=schema_of,
        is_accepted=is_accepted,
    )[0]


def parse_with_positions(
    text: bytes,
    *,
    file: str,
    read_rows: Callable[[str], bytes],
    local_files: Path | UploadedImages | None,
    max_bytes: int = MAX_BYTES,
    fill: Fill | None = None,
    schema_of: SchemaOf | None = None,
    ignore_columns: tuple[str, ...] = (),
    is_accepted: bool = False,
) -> tuple[Manifest, ItemPositions]:
    """Return the manifest in `text`, expanded, and where its items are written.

    Matrix and rows become items, every item has an id.

    `file`: its name in messages. `read_rows`: returns the bytes of what `items_from` names; an error that it raises is
    a problem of the manifest, unless the error is retryable. `local_files`: the folder of image files, or those that
    were uploaded; None: image files are problems. `fill`: replaces placeholders in name, output and prompts before they
    are validated. `schema_of`: returns the schema that the params are checked against; None: they are not.
    `ignore_columns`: columns of rows that are passed over. `is_accepted`: the text is what `dump` returned for a batch.

    Raises InvalidManifest with all problems, StorageError.
    """
    document = _load_mapping(text, file, max_bytes)
    value = fill_manifest(document.value, fill) if fill else document.value
    check, model_problems = model_check(value, schema_of) if schema_of else (None, [])
    context = context_of({"image_field": check.image_field} if check else value, local_files, is_accepted=is_accepted)
    entry, problems = _validate_head(value, context)
    rows, rows_problems = _load_rows(
        entry.items_from, file, read_rows, _column_rules(check, context, ignore_columns), fill
    )
    problems += rows_problems
    count_problems = _check_count(entry, rows, problems)
    listed, from_rows = _ItemGroup(entry.items or [], _locator(document, "items")), _ItemGroup(rows.items, rows.locate)
    if count_problems != [_TOO_MANY]:
        listed.validate(context, check)
        from_rows.validate(context, check, rows.columns)
        _check_ids([listed, from_rows])
    in_manifest = [*document.locate([*problems, *model_problems, *count_problems]), *listed.located_problems()]
    all_problems = _in_order(document, in_manifest, [*rows.problems, *from_rows.located_problems()])
    if all_problems:
        raise InvalidManifest(_truncate(all_problems))
    manifest = _manifest(entry, [*listed.valid, *_matrix_items(entry.matrix), *from_rows.valid], file)
    return manifest, _positions(document, entry, rows)


def _in_order(document: Document, in_manifest: list[Problem], in_rows: list[Problem]) -> list[Problem]:
    """Return all problems, also those of the text itself, in the order of the manifest and then of the rows."""
    in_manifest = [*document.problems, *in_manifest]
    odd_spaces = document.odd_spaces() if in_manifest else []
    return [*in_order([*odd_spaces, *in_manifest]), *in_order(in_rows)]


def _load_mapping(text: bytes, file: str, max_bytes: int) -> Document:
    document = load(text, file=file, max_bytes=max_bytes, text_keys=TEXT_KEYS, free_keys=FREE_KEYS)
    if not document.readable:
        raise InvalidManifest(document.problems)
    if not isinstance(document.value, dict):
        raise InvalidManifest([*document.odd_spaces(), *document.problems, Problem(file, 1, 1, _NOT_A_MAPPING)])
    return document


def _positions(document: Document, entry: ManifestEntry, rows: Rows) -> ItemPositions:
    images, prompts = (len(entry.matrix.images), len(entry.matrix.prompts)) if entry.matrix else (0, 0)
    return ItemPositions(document, len(entry.items or []), images, prompts, rows)


def derived_id(image: str | None, prompt: str | None, params: Mapping[str, Any]) -> str:
    """Return the id of an item without one: 12 hexadecimal digits that depend on its content."""
    return hashlib.sha256(_canonical([image, prompt, params]).encode()).hexdigest()[:12]


def dump(manifest: Manifest) -> bytes:
    """Return the manifest as YAML, one line per item. `parse` reads it back as an equal manifest."""
    items = (
        _without_none(id=item.id, image=item.image, prompt=item.prompt, params=item.params or None)
        for item in manifest.items
    )
    return render(head(manifest), items)


def head(manifest: Manifest) -> dict[str, Any]:
    """Return all keys of a manifest but its items, as they are written."""
    limits = manifest.limits
    return {
        "version": 1,
        "name": manifest.name,
        "model": manifest.model,
        "output": manifest.output,
        "image_field": manifest.image_field,
        "params": manifest.params or None,
        "limits": _without_none(
            max_active=limits.max_active,
            budget_usd=None if limits.budget_usd is None else f"{limits.budget_usd:f}",
            attempts=limits.attempts,
            tolerated_failures=limits.tolerated_failures,
            deadline=None if limits.deadline_s is None else f"{limits.deadline_s:.0f}s",
        ),
        "notify": manifest.notify,
        "reuse": manifest.reuse or None,
    }


def render(head: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a manifest as YAML: a line for each key that is not None, and one for each item."""
    lines = [f"{key}: {_json(value)}" for key, value in head.items() if value is not None]
    lines.append("items:")
    lines += [f"- {_json(item)}" for item in items]
    return _NOT_YAML_TEXT.sub(_escape, "\n".join([*lines, ""])).encode()


_NOT_A_MAPPING = (
    "a manifest is a mapping that begins with `version: 1`; the name of a file of rows ends in .csv or .tsv"
)
_ITEM_KEYS = (("items",), ("matrix",), ("items_from",))
_TOO_MANY = PathProblem((), f"there are more than {MAX_ITEMS:,} items in all: split them into several manifests")
_TOO_LONG = f"with all its items written out this is longer than {MAX_BYTES:,} bytes: split it into several manifests"
_MAX_UNMEASURED = 4_000_000
"""A manifest whose items have at most this many characters is never too long, whatever must be escaped."""
_NOT_YAML_TEXT = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON allows unescaped and that YAML forbids or reads as the end of a line."""
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_json = json.JSONEncoder(ensure_ascii=False).encode


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _escape(character: re.Match[str]) -> str:
    return f"\\u{ord(character.group()):04x}"


@dataclass(eq=False)
class _ItemGroup:
    """Items of one origin as they are written. `locate` returns problems, whose paths begin with the item's index,
    with their positions."""

    raw: list[Any]
    locate: Callable[[list[PathProblem]], list[Problem]]
    valid: list[ItemEntry] = field(default_factory=list)
    problems: list[PathProblem] = field(default_factory=list)

    def validate(self, context: ValidationContext, check: ModelCheck | None, columns: Collection[str] = ()) -> None:
        """Fill `valid` and `problems`. `columns`: those of a file of rows."""
        for start in range(0, len(self.raw), _CHUNK):
            try:
                self.valid += ITEMS.validate_python(self.raw[start : start + _CHUNK], context=context)
            except ValidationError as error:
                self.problems += problems_of(error, list[ItemEntry], first=start)
            if len(self.problems) > MAX_PROBLEMS:
                break
        self.problems += check.items(self.raw, columns) if check else []

    def located_problems(self) -> list[Problem]:
        """Return the problems with their positions."""
        return self.locate(self.problems) if self.problems else []


def _locator(document: Document, key: str) -> Callable[[list[PathProblem]], list[Problem]]:
    def locate(problems: list[PathProblem]) -> list[Problem]:
        return document.locate(replace(problem, path=(key, *problem.path)) for problem in problems)

    return locate


def _validate_head(value: dict[str, Any], context: ValidationContext) -> tuple[ManifestEntry, list[PathProblem]]:
    """Validate everything but the items. Return the entry without its invalid keys, and the problems."""
    try:
        return ManifestEntry.model_validate(value, context=context), []
    except ValidationError as error:
        problems = problems_of(error, ManifestEntry)
        invalid = {details["loc"][0] for details in error.errors(include_url=False)}
        valid = {key: part for key, part in value.items() if key not in invalid}
        return ManifestEntry.model_validate(_PLACEHOLDER | valid, context=context), problems


def _load_rows(
    reference: str | None, file: str, read: Callable[[str], bytes], rules: ColumnRules, fill: Fill | None
) -> tuple[Rows, list[PathProblem]]:
    """Return the rows that `items_from` names, with their placeholders replaced, and why they cannot be read."""
    if reference is None:
        return Rows(file), []
    name = reference if "://" in reference else f"{file[: file.rfind('/') + 1]}{reference}"
    try:
        text = read(reference)
    except (DailiesError, OSError) as error:
        if isinstance(error, StorageError) and error.retryable:
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Rows(name), [PathProblem(("items_from",), f"items_from cannot be read: {reason}")]
    rows = read_rows(text, file=name, rules=rules, max_items=MAX_ITEMS)
    if fill:
        rows.items = fill_items(rows.items, fill)
    return rows, []


def _column_rules(check: ModelCheck | None, context: ValidationContext, ignored: tuple[str, ...]) -> ColumnRules:
    if check is None:
        return ColumnRules(context.image_field, ignored=ignored)
    return ColumnRules(context.image_field, check.model, check.names, ignored)


def _check_count(entry: ManifestEntry, rows: Rows, problems: list[PathProblem]) -> list[PathProblem]:
    """Return the problem with the number of items, unless other problems are the reason for it."""
    pairs = len(entry.matrix.images) * len(entry.matrix.prompts) if entry.matrix else 0
    count = len(entry.items or []) + pairs + len(rows.items)
    if count > MAX_ITEMS:
        return [_TOO_MANY]
    if count or rows.problems or any(problem.path[:1] in _ITEM_KEYS for problem in problems):
        return []
    if entry.items_from is not None:
        return [PathProblem(("items_from",), "items_from has no rows below its header")]
    message = "there are no items: write `items:`, `matrix:` or `items_from:`"
    return [PathProblem(("items",), message, at_key=True)]


def _check_ids(groups: list[_ItemGroup]) -> None:
    """Add a problem for each id that an earlier item has, with the line of that item."""
    first: dict[str, tuple[_ItemGroup, int]] = {}
    for group in groups:
        duplicates: list[tuple[int, str]] = []
        for index, raw in enumerate(group.raw):
            item_id = raw.get("id") if type(raw) is dict else None
            if item_id is None or item_id == "" or isinstance(item_id, dict | list | bool):
                continue
            is_first = first.setdefault(str(item_id), (group, index)) == (group, index)
            if not is_first and len(duplicates) < MAX_PROBLEMS:
                duplicates.append((index, str(item_id)))
        for origin in groups if duplicates else []:
            from_origin = [(index, item_id) for index, item_id in duplicates if first[item_id][0] is origin]
            places = origin.locate([PathProblem((first[item_id][1], "id"), "") for _, item_id in from_origin])
            group.problems += [
                PathProblem((index, "id"), f"the id {shown(item_id)} is taken by {place.file}:{place.line}")
                for (index, item_id), place in zip(from_origin, places, strict=True)
            ]


def _truncate(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    last = replace(problems[MAX_PROBLEMS - 1], message=f"there are more problems than the first {MAX_PROBLEMS:,}")
    return [*problems[:MAX_PROBLEMS], last]


def _matrix_items(matrix: MatrixEntry | None) -> list[ItemEntry]:
    pairs = product(matrix.images, matrix.prompts) if matrix else ()
    return [{"image": image, "prompt": prompt} for image, prompt in pairs]


def _manifest(entry: ManifestEntry, items: list[ItemEntry], file: str) -> Manifest:
    """Return the manifest with these items. Raises InvalidManifest if it is too long to be stored."""
    length = _length(items)
    if length <= MAX_BYTES:
        manifest = Manifest(
            name=entry.name,
            model=entry.model or DEFAULT_MODEL,
            output=entry.output,
            image_field=entry.image_field or None,
            params=entry.params or {},
            limits=(entry.limits or LimitsEntry()).as_limits(),
            notify=entry.notify,
            reuse=bool(entry.reuse),
            items=tuple(_with_ids(items)),
        )
        if length <= _MAX_UNMEASURED or _fits(manifest):
            return manifest
    raise InvalidManifest([Problem(file, 1, 1, _TOO_LONG)])


def _with_ids(entries: list[ItemEntry]) -> Iterator[Item]:
    """Yield items with ids. Items of equal content without ids get `…`, `…-2`, `…-3`: they are several takes."""
    taken = {entry.get("id") for entry in entries}
    takes: Counter[str] = Counter()
    for entry in entries:
        image, prompt, params = entry.get("image") or None, entry.get("prompt") or None, entry.get("params") or {}
        item_id = entry.get("id")
        if not item_id:
            content = derived_id(image, prompt, params)
            while not item_id or item_id in taken:
                takes[content] += 1
                item_id = content if takes[content] == 1 else f"{content}-{takes[content]}"
        yield Item(item_id, image, prompt, params)


def _length(entries: list[ItemEntry]) -> int:
    """Return the approximate length of the items, in characters."""
    return sum(
        len(entry.get("image") or "") + len(entry.get("prompt") or "") + len(str(entry.get("params") or ""))
        for entry in entries
    )


def _fits(manifest: Manifest) -> bool:
    """Return whether the manifest with all its items written out can be read again."""
    # Image files get longer addresses when they are stored on S3.
    files = sum(1 for item in manifest.items if item.image and "://" not in item.image)
    return len(dump(manifest)) + files * 300 <= MAX_BYTES
