"""What a person gives to `submit`, `validate` and `init`: a manifest, a file of rows, or images and their folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from pipeline.domain.image_types import ImageType, sniff_file
from pipeline.domain.s3_names import lower_scheme
from pipeline.domain.system_files import ADVICE, is_system_file
from pipeline.errors import CannotRead, InvalidArguments, InvalidManifest, Problem
from pipeline.manifest.image_files import PHOTO_SUFFIXES, ImageFiles, find_images
from pipeline.manifest.loader import STDIN, LoadedManifest, load_manifest, parse_manifest, rows_in_folder, rows_on_s3
from pipeline.manifest.model_check import SchemaOf, requires_prompt
from pipeline.manifest.readable_names import batch_name
from pipeline.manifest.validators import DEFAULT_MODEL, MAX_ITEMS, ROWS_SUFFIXES
from pipeline.storage.s3 import Storage

_COMMAND_LINE = "command line"
_MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")


class _Kind(StrEnum):
    MANIFEST = "a manifest"
    ROWS = "a file of rows"
    IMAGES = "an image or a folder"


@dataclass(frozen=True)
class SourceOptions:
    """What fills the manifest that is not there. Names of options are those of `dailies submit`."""

    prompts: tuple[str, ...] = ()
    name: str | None = None
    model: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    budget_usd: Decimal | None = None
    attempts: int | None = None
    recursive: bool = False
    ignore_columns: tuple[str, ...] = ()
    reuse: bool = False

    def given(self) -> dict[str, bool]:
        """Return for each option whether it is given."""
        return {
            "--prompt": bool(self.prompts),
            "--name": self.name is not None,
            "--model": self.model is not None,
            "--param": bool(self.params),
            "--budget": self.budget_usd is not None,
            "--attempts": self.attempts is not None,
            "--recursive": self.recursive,
            "--ignore-columns": bool(self.ignore_columns),
        }


def load_source(
    paths: Sequence[str], options: SourceOptions, storage: Callable[[], Storage], schema_of: SchemaOf | None
) -> LoadedManifest:
    """Return the manifest in a file, or the one of the rows or images that `paths` name.

    Raises InvalidArguments, InvalidManifest with all problems, CannotRead, StorageError.
    """
    loaded = _load(paths, options, storage, schema_of)
    return replace(loaded, manifest=replace(loaded.manifest, reuse=True)) if options.reuse else loaded


def _load(
    paths: Sequence[str], options: SourceOptions, storage: Callable[[], Storage], schema_of: SchemaOf | None
) -> LoadedManifest:
    paths = [lower_scheme(path) for path in paths]
    kind = _common_kind(paths)
    if kind is _Kind.IMAGES:
        _refuse_options(options, ["--ignore-columns"], "is for rows")
        return _load_images(paths, options, schema_of)
    if is_system_file(paths[0].rpartition("/")[2]):
        raise CannotRead(f"{paths[0]}: {ADVICE}.")
    if kind is _Kind.ROWS:
        _refuse_options(options, ["--prompt", "--recursive"], f"is for images, and {paths[0]} is {kind}")
        return _load_rows(paths[0], options, storage, schema_of)
    others = [name for name in options.given() if name != "--ignore-columns"]
    _refuse_options(options, others, f"is for images and rows, and {paths[0]} is {kind}: write it there")
    loaded = load_manifest(paths[0], storage, schema_of=schema_of, ignore_columns=options.ignore_columns)
    if not loaded.columns:
        _refuse_options(options, ["--ignore-columns"], "is for rows")
    return loaded


def relative_to(loaded: LoadedManifest, folder: Path) -> LoadedManifest:
    """Return a manifest whose files are relative to `folder`, or itself if they are not all below it."""
    below = loaded.folder.resolve() if loaded.folder else folder.resolve()
    if not below.is_relative_to(folder.resolve()):
        return loaded
    prefix = below.relative_to(folder.resolve())
    items = tuple(
        replace(item, image=(prefix / item.image).as_posix()) if item.image and "://" not in item.image else item
        for item in loaded.manifest.items
    )
    return replace(loaded, manifest=replace(loaded.manifest, items=items), folder=folder)


def _common_kind(paths: Sequence[str]) -> _Kind:
    kinds = [_kind(path) for path in paths]
    if len(set(kinds)) == 1 and (len(paths) == 1 or kinds[0] is _Kind.IMAGES):
        return kinds[0]
    other = next((number for number, kind in enumerate(kinds) if kind is not kinds[0]), 1)
    raise InvalidArguments(
        "Give one manifest, or one file of rows, or images and folders of images. "
        f"{paths[0]} is {_described(paths[0], kinds[0])}, {paths[other]} is {_described(paths[other], kinds[other])}."
    )


def _described(path: str, kind: _Kind) -> str:
    # Any other file can be a manifest, if it is the only one.
    may_be = kind is not _Kind.MANIFEST or path == STDIN or path.lower().endswith(_MANIFEST_SUFFIXES)
    return str(kind) if may_be else "no image"


def _kind(path: str) -> _Kind:
    lower = path.lower()
    if path.startswith(("https://", "http://")) or (path.startswith("s3://") and lower.endswith(PHOTO_SUFFIXES)):
        raise InvalidArguments(f"{path} is an address. Write images with an address into a manifest or a file of rows.")
    if path != STDIN and "://" not in path and not Path(path).exists():
        raise CannotRead(f"{path} cannot be read: No such file or directory.")
    if lower.endswith(ROWS_SUFFIXES) and not Path(path).is_dir():
        return _Kind.ROWS
    if path == STDIN or path.startswith("s3://") or (lower.endswith(_MANIFEST_SUFFIXES) and not Path(path).is_dir()):
        return _Kind.MANIFEST
    is_image = Path(path).is_dir() or lower.endswith(PHOTO_SUFFIXES) or _is_image(Path(path))
    return _Kind.IMAGES if is_image else _Kind.MANIFEST


def _is_image(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return isinstance(sniff_file(stream), ImageType)
    except (OSError, ValueError):
        return False


def _refuse_options(options: SourceOptions, names: Iterable[str], reason: str) -> None:
    given = options.given()
    if refused := [name for name in names if given[name]]:
        raise InvalidArguments(f"{refused[0]} {reason}.")


def _load_images(paths: Sequence[str], options: SourceOptions, schema_of: SchemaOf | None) -> LoadedManifest:
    if not options.prompts and requires_prompt(options.model or DEFAULT_MODEL, schema_of):
        raise InvalidArguments('--prompt is missing. Images need one or several: `--prompt "She smiles"`.')
    images = find_images(paths, recursive=options.recursive)
    if len(images.names) * max(len(options.prompts), 1) > MAX_ITEMS:
        raise InvalidArguments(f"There are more than {MAX_ITEMS:,} items: submit the images in several batches.")
    head = _head(options, _name(options, images.place if len(paths) > 1 else Path(paths[0])))
    items = list(_items(images, options.prompts))
    written = ",\n".join(json.dumps(item) for _, item in items)
    text = "\n".join([*head, '"items": [', written, "]}"]).encode()
    origins = [_COMMAND_LINE] * (len(head) + 1) + [_shown(images.folder / name) for name, _ in items]
    try:
        loaded = parse_manifest(text, _COMMAND_LINE, _no_rows, images.folder, schema_of=schema_of)
    except InvalidManifest as error:
        raise InvalidManifest(_relabelled(error.problems, _COMMAND_LINE, origins)) from None
    return replace(loaded, positions=None, notes=tuple(images.notes))


def _items(images: ImageFiles, prompts: Sequence[str]) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the name of a file and an item: every image with every prompt."""
    for name, item_id in zip(images.names, images.ids, strict=True):
        if not prompts:
            yield name, {"id": item_id, "image": name}
        for number, prompt in enumerate(prompts, 1):
            unique = f"{item_id}-{number}" if len(prompts) > 1 else item_id
            yield name, {"id": unique, "image": name, "prompt": prompt}


def _load_rows(
    path: str, options: SourceOptions, storage: Callable[[], Storage], schema_of: SchemaOf | None
) -> LoadedManifest:
    folder, slash, name = path.rpartition("/")
    is_on_s3 = path.startswith("s3://")
    head = _head(options, _name(options, Path(name)))
    text = "\n".join([*head, f'"items_from": {json.dumps(path if is_on_s3 else name)}}}']).encode()
    # The name of the rows in messages begins with the folder of this file.
    file = f"{folder}{slash}{_COMMAND_LINE}"
    place = None if is_on_s3 else Path(folder + slash)
    read_rows = rows_on_s3(path, storage) if place is None else rows_in_folder(place, storage)
    try:
        return parse_manifest(text, file, read_rows, place, schema_of=schema_of, ignore_columns=options.ignore_columns)
    except InvalidManifest as error:
        raise InvalidManifest(_relabelled(error.problems, file, [_COMMAND_LINE] * len(head) + [path])) from None


def _head(options: SourceOptions, name: str) -> list[str]:
    """Return the lines of a manifest, in JSON, before its items."""
    limits = {
        "budget_usd": None if options.budget_usd is None else f"{options.budget_usd:f}",
        "attempts": options.attempts,
    }
    head = {
        "version": 1,
        "name": name,
        "model": options.model,
        "params": dict(options.params),
        "limits": {key: value for key, value in limits.items() if value is not None},
    }
    return ["{", *(f'"{key}": {json.dumps(value)},' for key, value in head.items() if value)]


def _name(options: SourceOptions, path: Path) -> str:
    """Return a valid name of a batch: the one that is given, else that of a file or a folder."""
    if options.name is not None:
        if name := batch_name(options.name):
            return name
        raise InvalidArguments(f"--name has no letters or digits: {options.name!r}.")
    whole = path.resolve()
    return batch_name(whole.name if whole.is_dir() else path.stem) or "batch"


def _relabelled(problems: Iterable[Problem], file: str, origins: Sequence[str]) -> list[Problem]:
    """Return the problems of a generated text, each once and at the source of its line."""
    found: dict[str, Problem] = {}
    for problem in problems:
        if problem.file == file:
            origin = origins[min(problem.line, len(origins)) - 1]
            found.setdefault(problem.message, Problem(origin, 1, 1, problem.message))
        else:
            found.setdefault(str(problem), problem)
    return list(found.values())


def _shown(file: Path) -> str:
    here = Path.cwd().resolve()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _no_rows(reference: str) -> bytes:
    raise FileNotFoundError(reference)
