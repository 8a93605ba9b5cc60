"""Log lines of many threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pytest

from pipeline.observability.logging import Lines


@dataclass
class Pipe:
    """`reader` gives the lines that are written to `end`."""

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
    lines = Lines(pipe.end)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.extend(pipe.lines(8 * 500)))
    reader.start()

    def write(name: int) -> None:
        for n in range(500):
            lines.info(f"{name} {n} {'x' * 50}")

    writers = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    reader.join(30)
    assert sorted(found) == sorted(f"{name} {n} {'x' * 50}" for name in range(8) for n in range(500))
    for name in range(8):
        of_one = [line for line in found if line.startswith(f"{name} ")]
        assert of_one == [f"{name} {n} {'x' * 50}" for n in range(500)]


def test_odd_text_is_written_all_the_same(pipe: Pipe) -> None:
    Lines(pipe.end).error("\ud800 ü")
    assert pipe.lines(1) == ["\\ud800 ü"]


def test_where_nobody_reads_nothing_breaks() -> None:
    read, write = os.pipe()
    os.close(read)
    Lines(write).warning("lost")
    os.close(write)
