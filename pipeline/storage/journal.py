"""The journal on S3: what must not be paid for twice, even when Redis is lost.

Under `{batch}/journal/` lie small objects of JSON lines, one object for a handful of runs. Before runs are posted
their attempts are written (`write` returns when S3 has them); task tokens and ends follow within a moment (`note`).
`recovery.py` reads them. Entries are dicts with `at` (RFC 3339 UTC) and `do`:

    run     item, attempt                             is about to be posted
    task    item, attempt, task, token                the vendor took it
    back    item, attempt                             it came to nothing and cost nothing
    end     item, attempt, cost_usd, outcome {…}      the item ended
    add     item, spec {image, prompt, params, …}     an item that the manifest has not
    review  item, mark, note                          a person's verdict; mark None takes it back
    stop    reason                                    the batch was stopped
    reopen  states […], items […] or all              items that had ended in these states go again
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from pipeline.errors import StorageError
from pipeline.storage.s3 import Storage, join

log = structlog.get_logger()

FOLDER = "journal/"
Entry = Mapping[str, Any]
_NOTE_WAIT_S = 0.5
_MAX_WAIT_S = 30.0
_MAX_NOTES = 20_000
"""Notes kept while S3 does not take them. What is dropped beyond that, `recovery` asks of the vendor."""


class Journal:
    """Writes entries. Thread-safe; notes of many threads share an object."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._writer = uuid.uuid4().hex[:8]
        self._number = 0
        self._notes: defaultdict[str, list[bytes]] = defaultdict(list)
        self._waiting = 0
        self._changed = threading.Condition()
        self._beat: threading.Thread | None = None

    def write(self, folder: str, entries: Sequence[Entry]) -> None:
        """Write entries of the batch at `folder` now, with what was noted for it. Raises StorageError."""
        lines = [_line(entry) for entry in entries]
        noted = self._take(folder)
        try:
            self._put(folder, noted + lines)
        except StorageError:
            self._give_back(folder, noted)
            raise

    def note(self, folder: str, entry: Entry) -> None:
        """Have an entry of the batch at `folder` written soon."""
        with self._changed:
            if self._waiting >= _MAX_NOTES:
                return
            self._notes[folder].append(_line(entry))
            self._waiting += 1
            if self._beat is None:
                self._beat = threading.Thread(target=self._keep_writing, name="journal", daemon=True)
                self._beat.start()
            self._changed.notify()

    def flush(self) -> None:
        """Write whatever is noted. Raises StorageError."""
        for folder in list(self._notes):
            self.write(folder, [])

    def _keep_writing(self) -> None:
        pause = threading.Event()
        wait = _NOTE_WAIT_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting > 0)
            pause.wait(wait)
            try:
                self.flush()
                wait = _NOTE_WAIT_S
            except StorageError as error:
                wait = min(wait * 2, _MAX_WAIT_S)
                log.warning("journal_not_written", notes=self._waiting, error=str(error))

    def _take(self, folder: str) -> list[bytes]:
        with self._changed:
            noted = self._notes.pop(folder, [])
            self._waiting -= len(noted)
            return noted

    def _give_back(self, folder: str, noted: list[bytes]) -> None:
        with self._changed:
            self._notes[folder][:0] = noted
            self._waiting += len(noted)

    def _put(self, folder: str, lines: list[bytes]) -> None:
        if not lines:
            return
        with self._changed:
            self._number += 1
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{self._writer}-{self._number}.jsonl"
        self._storage.put(join(folder, FOLDER, name), b"".join(lines), "application/x-ndjson")


def entries(storage: Storage, folder: str) -> Iterator[dict[str, Any]]:
    """Every entry of the batch at `folder`, oldest object first. Raises StorageError."""
    for info in storage.list(join(folder, FOLDER)):
        for line in (storage.get(info.uri) or b"").splitlines():
            yield json.loads(line)


def _line(entry: Entry) -> bytes:
    document = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
