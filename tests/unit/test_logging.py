"""Log lines of many threads."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pytest
import structlog
from structlog.testing import capture_logs

from pipeline.observability import logging
from pipeline.observability.logging import LineWriter


@dataclass
class Pipe:
    """A pipe. `reader` returns the lines that are written to `end`."""

    end: int
    reader: BinaryIO

    def lines(self, count: int) -> list[str]:
        return [self.reader.readline().decode().rstrip("\n") for _ in range(count)]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        yield Pipe(writer.fileno(), reader)


def test_every_line_of_every_thread_is_written_whole(pipe: Pipe) -> None:
    writer = LineWriter(pipe.end)
    written: list[str] = []
    reader = threading.Thread(target=lambda: written.extend(pipe.lines(8 * 500)))
    reader.start()

    def write(name: int) -> None:
        for n in range(500):
            writer.info(f"{name} {n} {'x' * 50}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader.join(30)
    assert sorted(written) == sorted(f"{name} {n} {'x' * 50}" for name in range(8) for n in range(500))
    for name in range(8):
        of_thread = [line for line in written if line.startswith(f"{name} ")]
        assert of_thread == [f"{name} {n} {'x' * 50}" for n in range(500)]


def test_text_that_is_not_valid_unicode_is_escaped(pipe: Pipe) -> None:
    LineWriter(pipe.end).error("\ud800 ü")
    assert pipe.lines(1) == ["\\ud800 ü"]


def test_a_closed_log_raises_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    LineWriter(write).warning("lost")
    os.close(write)


def test_dropped_lines_are_counted_when_there_is_room_again(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "_MAX_WAITING_LINES", 10)
    writer = LineWriter(pipe.end)
    larger_than_the_pipe = "x" * 1_000_000
    blocked = threading.Thread(target=writer.info, args=(larger_than_the_pipe,))
    blocked.start()
    select.select([pipe.reader], [], [], 30)
    for n in range(15):
        writer.info(str(n))
    first, note, *rest = pipe.lines(12)
    blocked.join(30)
    writer.info("later")
    event = json.loads(note)
    assert first == larger_than_the_pipe
    assert (event["event"], event["count"], event["level"]) == ("log_lines_dropped", 5, "warning")
    assert rest == [str(n) for n in range(5, 15)]
    assert pipe.lines(1) == ["later"]


def test_a_logger_that_is_in_use_stays_in_the_configuration() -> None:
    logging.configure()
    log = structlog.get_logger()
    log.info("first")
    logging.configure()
    with capture_logs() as events:
        log.info("second")
    assert [event["event"] for event in events] == ["second"]
