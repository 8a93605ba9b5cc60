"""Log fields from outside: bounded, without control and direction characters."""

from __future__ import annotations

import io
import json
import logging as standard_logging
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from pipeline.observability import logging
from pipeline.observability.line_limit import LineLimit

HOSTILE = "a\x1b[31mb\x9b2Jc\u202ed\u2066e\u2028f\r\ng\x00\x7f\ud800"
FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class Lines:
    """Stands in for the writer to stderr."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def msg(self, line: str) -> None:
        self.lines.append(line)

    info = warning = error = critical = msg


@pytest.fixture(params=["json", "terminal"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is logged, as JSON and on a terminal."""
    lines, stderr = Lines(), io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: request.param == "terminal", raising=False)
    monkeypatch.setattr(logging.sys, "stderr", stderr)  # type: ignore[attr-defined]
    monkeypatch.setattr(logging, "LineWriter", lambda file: lines)
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    logging.configure()
    structlog.configure(cache_logger_on_first_use=False)
    yield lines.lines
    structlog.reset_defaults()
    if before:
        structlog.configure(**before)


def without_colours(line: str) -> str:
    return logging._COLOUR.sub("", line)


def is_harmless(line: str) -> bool:
    return not any(unicodedata.category(char) in FORBIDDEN for char in without_colours(line))


def values(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            yield name
            yield from values(value)
    elif isinstance(document, list):
        for value in document:
            yield from values(value)
    elif isinstance(document, str):
        yield document


@pytest.mark.parametrize(
    "field",
    [
        HOSTILE,
        [HOSTILE],
        {HOSTILE: HOSTILE},
        {"deep": [{"deeper": (HOSTILE, {HOSTILE})}]},
        HOSTILE.encode("utf-8", "replace"),
        ValueError(HOSTILE),
        object(),
    ],
)
def test_no_control_character_of_a_field_reaches_the_log(lines: list[str], field: object) -> None:
    structlog.get_logger().warning("event", topic=field, **{HOSTILE: 1})
    (line,) = lines
    assert is_harmless(line)
    if line.startswith("{"):
        assert all(is_harmless(value) for value in values(json.loads(line)))


@pytest.mark.parametrize(
    "field",
    [
        lambda: "x" * 20_000_000,
        lambda: "\x1b" * 20_000_000,
        lambda: ["x" * 1000] * 100_000,
        lambda: {f"n{n}": "x" * 1000 for n in range(100_000)},
        lambda: [[[["x" * 1000] * 100] * 100] * 100] * 100,
        lambda: 10**100_000,
    ],
)
def test_a_line_is_bounded_whatever_a_field_holds(lines: list[str], field: Callable[[], object]) -> None:
    structlog.get_logger().warning("event", topic=field())
    assert len(lines[0]) < 200_000


def test_usual_fields_stay_as_they_are(lines: list[str]) -> None:
    fields = {"n": 3, "share": 0.5, "done": True, "none": None, "text": "Grüße 深い 👩\u200d🚀", "ids": ["a", 2]}
    structlog.get_logger().info("event", **fields)
    line = without_colours(lines[0])
    if line.startswith("{"):
        document = json.loads(line)
        assert {name: document[name] for name in fields} == fields
    else:
        assert "Grüße 深い" in line


def test_a_traceback_is_bounded_and_keeps_its_lines(lines: list[str]) -> None:
    try:
        raise ValueError("\u202e" + "x" * 1_000_000 + "\x1b[2J the end")
    except ValueError:
        structlog.get_logger().exception("event")
    assert len(lines[0]) < 60_000
    assert "the end" in lines[0]
    assert all(is_harmless(line) for line in lines[0].split("\n"))
    if lines[0].startswith("{"):
        assert "\n" in json.loads(lines[0])["exception"]


def test_lines_of_libraries_are_events_with_the_same_bounds(lines: list[str]) -> None:
    standard_logging.getLogger("some.library").warning("Job %s\x1b[2J\u202e", "x" * 10_000_000)
    record = standard_logging.makeLogRecord(
        {"name": "some.library", "levelno": 30, "msg": "no arguments %s %d", "args": ("x",)}
    )
    logging._LibraryHandler().emit(record)
    assert all(is_harmless(line) and len(line) < 5000 for line in lines)
    assert "library_message" in without_colours(lines[0])
    assert "some.library" in without_colours(lines[1])


def test_refusals_are_logged_at_most_some_times_a_minute() -> None:
    now = [0.0]
    limit = LineLimit(3, 60, clock=lambda: now[0])
    assert [limit.take() for _ in range(5)] == [0, 0, 0, None, None]
    now[0] = 61
    assert [limit.take(), limit.take()] == [2, 0]
