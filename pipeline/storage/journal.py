"""The write-ahead journal on S3: what must not be paid for twice, even if Redis is lost.

`{batch}/journal/` contains small objects of JSON lines, each for several runs. Attempts are written before their runs
are posted (`write` returns after S3 has stored them). Task tokens and ends follow within a second (`note`).
`opened.jsonl` is empty and written when the batch is submitted; when the batch is archived, only it is left, with an
entry `archive`. `recovery.py` reads the journal.
Each entry has `at` (RFC 3339 UTC) and `do`:

    run     item, attempt, reuse_key                  the run is about to be posted
    reuse   item, attempt, reuse_key, reused_from, task, outcome {…}
                                                      the outputs of an earlier item are about to be copied
    task    item, attempt, task, token, found_by      the vendor accepted the run; `found_by` only if it had to be found
    charge  item, attempt, cost_usd                   what a run cost that did not succeed
    back    item, attempt                             the run was not accepted and cost nothing
    end     item, attempt, cost_usd, outcome {…}      the item ended; what its successful run cost
    add     item, spec {image, prompt, params, …}     a new item that is not in the manifest
    review  item, mark, note                          a person's review; mark None removes it
    stop    reason                                    the batch was stopped
    reopen  states […], items […] or absent: all      ended items in these states were reopened
    archive revision                                  older entries are deleted; results of this revision have all
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from pipeline.domain.chunks import chunked
from pipeline.errors import StorageError
from pipeline.storage.s3 import Storage, join

log = structlog.get_logger()

FOLDER = "journal/"
DAMAGED = "damaged"
"""What `entries` yields for a line that cannot be read: {do, line, place}."""
_MAX_DAMAGED = 1000
_OPENED = "opened.jsonl"
"""An object of each journal, empty until the batch is archived: a listing without it is incomplete."""
_MEDIA_TYPE = "application/x-ndjson"
Entry = Mapping[str, Any]
_BUFFER_WAIT_S = 0.5
_MAX_WAIT_S = 30.0
_DELETED_AT_A_TIME = 100
_MAX_BUFFERED_ENTRIES = 20_000
"""Entries in memory while S3 is unavailable. More are dropped: `recovery` gets their state from the vendor."""


class Journal:
    """Writes entries. Thread-safe. Buffered entries of all threads share an object."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._writer_id = uuid.uuid4().hex[:8]
        self._object_number = 0
        self._buffers: defaultdict[str, list[bytes]] = defaultdict(list)
        self._buffered = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, folder: str, entries: Sequence[Entry]) -> None:
        """Write entries of the batch at `folder` now, with its buffered ones. Raises StorageError."""
        lines = [_line(entry) for entry in entries]
        buffered = self._take_buffer(folder)
        try:
            self._put(folder, buffered + lines)
        except Exception:
            self._put_back(folder, buffered)
            raise

    def note(self, folder: str, entry: Entry) -> None:
        """Buffer an entry of the batch at `folder`. A thread writes it within a second."""
        with self._changed:
            if self._buffered >= _MAX_BUFFERED_ENTRIES:
                return
            self._buffers[folder].append(_line(entry))
            self._buffered += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._flush_forever, name="journal", daemon=True)
                self._thread.start()
            self._changed.notify()

    def flush(self) -> None:
        """Write all buffered entries now. A batch whose entries are refused does not stop the others.

        Raises the first error, when all batches were tried.
        """
        errors = []
        for folder in list(self._buffers):
            try:
                self.write(folder, [])
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _flush_forever(self) -> None:
        pause = threading.Event()
        wait_s = _BUFFER_WAIT_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._buffered > 0)
            pause.wait(wait_s)
            try:
                self.flush()
                wait_s = _BUFFER_WAIT_S
            except Exception as error:
                # Whatever it is: without this thread nothing would be written any more.
                wait_s = min(wait_s * 2, _MAX_WAIT_S)
                log.warning("journal_not_written", entries=self._buffered, error=str(error))

    def _take_buffer(self, folder: str) -> list[bytes]:
        with self._changed:
            lines = self._buffers.pop(folder, [])
            self._buffered -= len(lines)
            return lines

    def _put_back(self, folder: str, lines: list[bytes]) -> None:
        with self._changed:
            self._buffers[folder][:0] = lines
            self._buffered += len(lines)

    def _put(self, folder: str, lines: list[bytes]) -> None:
        if not lines:
            return
        with self._changed:
            self._object_number += 1
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{self._writer_id}-{self._object_number}.jsonl"
        self._storage.put(join(folder, FOLDER, name), b"".join(lines), _MEDIA_TYPE)


def open_journal(storage: Storage, folder: str) -> None:
    """Create the journal of a new batch at `folder`. A second call changes nothing. Raises StorageError."""
    storage.put(join(folder, FOLDER, _OPENED), b"", _MEDIA_TYPE)


def is_started(storage: Storage, folder: str) -> bool:
    """Return whether there is a journal at `folder`, by a listing and by a request for its first object.

    Raises StorageError.
    """
    return next(storage.list(join(folder, FOLDER)), None) is not None or _is_opened(storage, folder)


def delete_entries(storage: Storage, folder: str, revision: int, may_delete: Callable[[], bool]) -> bool:
    """Delete the entries of the batch at `folder` that exist now, the oldest object first.

    `revision`: that of the results, which have the content of these entries. `opened.jsonl` names it before the first
    one is deleted, and stays. `may_delete` is called before each part of them is deleted, after it was listed: an entry
    that is written later stays. Return False if it returned False. Raises StorageError. What an interrupted call leaves
    are the newest entries, which agree with the results.
    """
    if not may_delete():
        return False
    opened = join(folder, FOLDER, _OPENED)
    storage.put(opened, _line({"do": "archive", "revision": revision}), _MEDIA_TYPE)
    for part in chunked(storage.list(join(folder, FOLDER)), _DELETED_AT_A_TIME):
        if not may_delete():
            return False
        for info in part:
            if info.uri != opened:
                storage.delete(info.uri)
    return True


def entries(storage: Storage, folder: str) -> Iterator[dict[str, Any]]:
    """Yield all entries of the batch at `folder`, the oldest object first. Raises StorageError.

    StorageError also if S3 contradicts itself: a run that is missing here would be paid for again.
    """
    names = set()
    for info in storage.list(join(folder, FOLDER)):
        names.add(info.uri.rpartition("/")[2])
        data = storage.get(info.uri)
        if data is None or len(data) < info.size:
            raise StorageError(
                f"{info.uri} is listed with {info.size:,} bytes, but S3 returns "
                f"{'that it does not exist' if data is None else f'{len(data):,} bytes'}. Try again later.",
                retryable=True,
            )
        for number, line in enumerate(data.splitlines(), 1):
            yield _entry(line, f"{info.uri}:{number}")
    if _OPENED not in names and _is_opened(storage, folder):
        raise StorageError(
            f"S3 lists {len(names):,} objects below {join(folder, FOLDER)}, but not {_OPENED}, which exists: the "
            "listing is incomplete, and runs may be missing. Try again later; `dailies doctor` tests the server.",
            retryable=True,
        )


def _is_opened(storage: Storage, folder: str) -> bool:
    return storage.confirmed_info(join(folder, FOLDER, _OPENED)) is not None


def _entry(line: bytes, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        return {"do": DAMAGED, "line": line[:_MAX_DAMAGED].decode("utf-8", "replace"), "place": place}
    return entry


def _line(entry: Entry) -> bytes:
    document = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
