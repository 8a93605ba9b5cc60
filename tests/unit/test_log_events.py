"""docs/log-events.md lists every log event of the program with its level and fields."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "exception")
GENERATED = {"schedule_failed", "schedule_skipped", "schedule_started"}
"""Events whose names the program builds: `schedule_` and what became of the occurrence."""
DIRECT = {"log_lines_dropped", "library_message"}
"""Written by the log writer itself, below structlog, and by the handler of the standard library's log."""


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return {event: (level, fields)} of the page."""
    page = (ROOT / "docs" / "log-events.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", page, re.M)
    return {event: (level, set(re.findall(r"`(\w+)`", fields))) for event, level, fields in rows}


def logged() -> list[tuple[str, str, set[str], str]]:
    """Return (event, level, named fields, place) of each call `log.LEVEL("event", …)`."""
    calls = []
    for file in sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "jobs").glob("*.py")]):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str(event)), *_],
                    keywords=keywords,
                ) if level in LEVELS:
                    fields = {keyword.arg for keyword in keywords if keyword.arg}
                    calls.append((event, level, fields, f"{file.relative_to(ROOT)}:{node.lineno}"))
    return calls


def test_every_event_is_on_the_page_and_no_other() -> None:
    assert set(documented()) == {event for event, *_ in logged()} | GENERATED | DIRECT


@pytest.mark.parametrize(("event", "level", "fields", "place"), logged())
def test_an_event_has_the_level_and_the_fields_of_the_page(
    event: str, level: str, fields: set[str], place: str
) -> None:
    documented_level, documented_fields = documented()[event]
    assert level.replace("exception", "error") == documented_level, place
    assert fields <= documented_fields, place
