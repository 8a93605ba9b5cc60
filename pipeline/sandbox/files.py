"""Folders and uploaded files."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.sandbox.errors import VALIDATION, Refusal

MAX_FILE_BYTES = 100 * 2**20
_MAX_FILES = 10_000
_FIRST_ID = 70_000
_FOLDER_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class StoredFile:
    """One uploaded file. The media cache stores its bytes under `sha256`."""

    id: str
    name: str
    content_type: str
    size: int
    folder: str
    sha256: str

    @property
    def access_key(self) -> str:
        """The part of its URL that cannot be guessed without the file."""
        return self.sha256[:32]

    def as_json(self, base_url: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "contenttype": self.content_type,
            "size": str(self.size),
            "parentid": self.folder or None,
            "url": f"{base_url}/files/{self.id}/{self.access_key}/{self.name}",
            "accesskey": self.access_key,
        }


class Files:
    """The last 10,000 uploaded files."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, StoredFile] = OrderedDict()
        self._count = 0

    def create_folder(self, name: str, parent: str) -> dict[str, Any]:
        """Return the record of a new folder. Raises Refusal (0) if the name is invalid."""
        if not _FOLDER_NAME.fullmatch(name):
            raise Refusal(VALIDATION, "name may contain letters, digits, - and _ only")
        return {"id": self._next_id(), "name": name, "parentid": parent or None, "size": "0", "contenttype": "folder"}

    def add(self, name: str, content_type: str, size: int, folder: str, sha256: str) -> StoredFile:
        """Record an uploaded file. Raises Refusal (0) if it is empty or larger than 100 MB."""
        if not 0 < size <= MAX_FILE_BYTES:
            raise Refusal(VALIDATION, "file required, of at most 100 MB")
        file = StoredFile(self._next_id(), name, content_type, size, folder, sha256)
        self._files[file.id] = file
        if len(self._files) > _MAX_FILES:
            self._files.popitem(last=False)
        return file

    def restore(self, files: Iterable[StoredFile]) -> None:
        """Add files that an earlier process recorded."""
        for file in files:
            self._files[file.id] = file
            self._count = max(self._count, int(file.id) - _FIRST_ID)

    def __iter__(self) -> Iterator[StoredFile]:
        return iter(self._files.values())

    def get(self, file_id: str) -> StoredFile | None:
        """Return the file with this id, or None."""
        return self._files.get(file_id)

    def _next_id(self) -> str:
        self._count += 1
        return str(_FIRST_ID + self._count)
