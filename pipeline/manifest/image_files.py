"""The images that a person names on the command line: files, and folders of files in their natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.domain.formatting import pluralize
from pipeline.domain.image_types import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES
from pipeline.domain.system_files import ADVICE, is_system_file
from pipeline.errors import CannotRead
from pipeline.manifest.readable_names import file_ids, natural_key

PHOTO_SUFFIXES = (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES)
"""Files that are images for a person. One that the vendor does not take is an error with advice, not passed over."""
_MAX_NAMED = 3
_UNDECODABLE = re.compile("[\ud800-\udfff]")
"""What Python writes for bytes of a name that are not UTF-8."""


@dataclass
class ImageFiles:
    """Images below a common folder. `names` are relative to it, with `/`; `ids` has one for each."""

    folder: Path
    names: list[str]
    ids: list[str]
    notes: list[str]

    @property
    def place(self) -> Path:
        """The deepest folder that all images are in or below."""
        return self.folder / os.path.commonpath([Path(name).parent for name in self.names])


@dataclass
class _Found:
    """What is below the paths. `labels`, of which ids are made, begin with the name of the folder of the path."""

    files: list[Path] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def find_images(paths: Sequence[str], *, recursive: bool) -> ImageFiles:
    """Return the images that `paths` name. Raises CannotRead; a folder without images is an error."""
    found = _Found()
    for path in paths:
        if Path(path).is_dir():
            _add_folder(found, path, recursive)
        elif is_system_file(Path(path).name):
            # A shell puts all names in the place of `*`.
            found.passed_over.append(path)
        else:
            found.files.append(resolve(path))
            found.labels.append(f"{found.files[-1].parent.name}/{Path(path).name}")
    if not found.files:
        raise CannotRead(f"{_named(found.passed_over)}: {ADVICE}.")
    for file in found.files:
        if _UNDECODABLE.search(str(file)):
            raise CannotRead(
                f"{str(file).encode('utf-8', 'backslashreplace').decode()}: the name is not UTF-8. Rename it."
            )
    unique = dict(zip(found.files, found.labels, strict=True))
    folder = common_folder(list(unique))
    names = [file.relative_to(folder).as_posix() for file in unique]
    return ImageFiles(folder, names, file_ids(list(unique.values())), _notes(found, recursive))


def common_folder(files: Sequence[Path]) -> Path:
    """Return the folder that paths in a manifest of these files are relative to: the current one if they are in it."""
    parents = [file.parent for file in files]
    here = Path.cwd().resolve()
    return here if all(parent.is_relative_to(here) for parent in parents) else Path(os.path.commonpath(parents))


def _add_folder(found: _Found, path: str, recursive: bool) -> None:
    root = resolve(path)
    before = len(found.files)
    skipped: list[str] = []
    for name, is_folder in sorted(_entries(root, root, recursive), key=lambda entry: natural_key(entry[0])):
        base = name.rpartition("/")[2]
        if is_folder:
            found.folders.append(name)
        elif base.startswith(".") or is_system_file(name) or not base.lower().endswith(PHOTO_SUFFIXES):
            skipped.append(name)
        elif not (root / name).resolve().is_relative_to(root):
            skipped.append(f"{name} (a link out of the folder)")
        else:
            found.files.append(root / name)
            found.labels.append(f"{root.name}/{name}")
    found.passed_over += skipped
    if len(found.files) == before:
        more = "" if recursive or not found.folders else " Its folders are read with --recursive."
        has = f" It has {pluralize(len(skipped), 'other file')}." if skipped else ""
        raise CannotRead(f"{path} has no images ({', '.join(IMAGE_SUFFIXES)}).{has}{more}")


def _entries(root: Path, folder: Path, recursive: bool) -> Iterator[tuple[str, bool]]:
    """Yield files, and folders that are not read, relative to `root`. Links to folders are not followed."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise CannotRead(f"{folder} cannot be read: {error.strerror}.") from None
    for entry in entries:
        name = Path(entry.path).relative_to(root).as_posix()
        if not entry.is_dir():
            yield name, False
        elif recursive and not entry.is_symlink() and not entry.name.startswith("."):
            yield from _entries(root, Path(entry.path), recursive)
        else:
            yield name, True


def resolve(path: str) -> Path:
    """Return the absolute path of a file or folder that exists, without links. Raises CannotRead."""
    try:
        return Path(path).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its links form a circle"
        raise CannotRead(f"{path} cannot be read: {reason}.") from None


def _notes(found: _Found, recursive: bool) -> list[str]:
    notes = []
    if found.passed_over:
        notes.append(f"Passed over {pluralize(len(found.passed_over), 'other file')}: {_named(found.passed_over)}.")
    if found.folders:
        advice = "" if recursive else " --recursive reads them, too."
        notes.append(f"Passed over {pluralize(len(found.folders), 'folder')}: {_named(found.folders)}.{advice}")
    return notes


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
