"""The state of a sandbox that survives a restart: a journal of tasks and uploaded files, and the images.

Every line is written without a buffer, so SIGKILL loses nothing.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.files import StoredFile
from pipeline.sandbox.tasks import Ending, Product, SourceImage, Task, Timeline

RETENTION_S = 86_400
"""A start drops tasks older than this: their outputs have expired."""
MAX_IMAGE_BYTES = 2**30
MAX_LINES = 500_000
_JOURNAL = "journal.jsonl"
_TASK_FIELDS = ("id", "token", "uuid", "model", "params", "prompt", "callback_url", "base_url")


@dataclass
class RecordedState:
    """The tasks and files of an earlier process, oldest first."""

    tasks: dict[str, Task] = field(default_factory=dict)
    files: list[StoredFile] = field(default_factory=list)


class SandboxJournal:
    """The journal in one folder. One process at a time may write it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / _JOURNAL
        self._lines = 0
        self.recorded = _read(self._path)
        self._file = self._rewritten(self.recorded.tasks.values(), self.recorded.files)

    def write_task(self, task: Task) -> None:
        """Append a task as it is now."""
        self._write("task", _as_json(task))

    def write_file(self, file: StoredFile) -> None:
        """Append a file that was uploaded."""
        self._write("file", asdict(file))

    def is_too_long(self) -> bool:
        """Return whether the journal needs a rewrite."""
        return self._lines > MAX_LINES

    def rewrite(self, tasks: Iterable[Task], files: Iterable[StoredFile]) -> None:
        """Replace the journal by these tasks and files."""
        self._file.close()
        self._file = self._rewritten(tasks, files)

    def close(self) -> None:
        self._file.close()

    def _rewritten(self, tasks: Iterable[Task], files: Iterable[StoredFile]) -> BinaryIO:
        new = self._path.with_suffix(".new")
        self._lines = 0
        self._file = new.open("wb")
        for file in files:
            self.write_file(file)
        for task in tasks:
            self.write_task(task)
        self._file.close()
        new.replace(self._path)
        return self._path.open("ab", buffering=0)

    def _write(self, kind: str, document: dict[str, Any]) -> None:
        self._file.write(json.dumps({"kind": kind, **document}).encode() + b"\n")
        self._lines += 1


class ImageFolder:
    """Images by their SHA-256, at most 1 GiB; the oldest are deleted first."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        stored = sorted((path.stat().st_mtime, path.name, path.stat().st_size) for path in folder.iterdir())
        self._sizes: OrderedDict[str, int] = OrderedDict((name, size) for _, name, size in stored)
        self._size = sum(self._sizes.values())

    def put(self, sha256: str, image: bytes) -> None:
        """Store an image."""
        if sha256 in self._sizes:
            return
        new = self._folder / f"{sha256}.new"
        new.write_bytes(image)
        new.replace(self._folder / sha256)
        self._sizes[sha256] = len(image)
        self._size += len(image)
        while self._size > MAX_IMAGE_BYTES:
            oldest, size = self._sizes.popitem(last=False)
            self._size -= size
            (self._folder / oldest).unlink(missing_ok=True)

    def get(self, sha256: str) -> bytes | None:
        """Return a stored image, or None."""
        return (self._folder / sha256).read_bytes() if sha256 in self._sizes else None


def _as_json(task: Task) -> dict[str, Any]:
    document = {name: getattr(task, name) for name in _TASK_FIELDS}
    document |= {name: asdict(getattr(task, name)) for name in ("image", "fault_plan", "timeline")}
    ending = asdict(task.ending) | {"cost": str(task.ending.cost)} if task.ending else None
    return document | {"ending": ending, "deleted": task.deleted}


def _read(path: Path) -> RecordedState:
    recorded = RecordedState()
    since = time.time() - RETENTION_S
    with suppress(FileNotFoundError), path.open("rb") as lines:
        for line in lines:
            # After a SIGKILL the last line may be incomplete.
            with suppress(ValueError, KeyError, TypeError):
                _restore(json.loads(line), recorded, since)
    return recorded


def _restore(document: dict[str, Any], recorded: RecordedState, since: float) -> None:
    if document.pop("kind") == "file":
        recorded.files.append(StoredFile(**document))
        return
    task = _task(document)
    if task.timeline.queued_at > since:
        recorded.tasks[task.id] = task


def _task(document: dict[str, Any]) -> Task:
    # Version 0.1.0 wrote `picture` and `fate` for `image` and `fault_plan`.
    ending = document.pop("ending")
    return Task(
        **{name: document[name] for name in (*_TASK_FIELDS, "deleted")},
        image=SourceImage(**(document.get("image") or document["picture"])),
        fault_plan=FaultPlan(**(document.get("fault_plan") or document["fate"])),
        timeline=Timeline(**document["timeline"]),
        ending=_ending(ending) if ending else None,
    )


def _ending(document: dict[str, Any]) -> Ending:
    products = tuple(Product(**product) for product in document["products"])
    return Ending(**{**document, "cost": Decimal(document["cost"]), "products": products})
