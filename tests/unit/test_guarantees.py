"""docs/guarantees.md names tests that exist, where it says they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
NAMED = re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")


def test_every_test_that_the_page_names_exists() -> None:
    text = PAGE.read_text()
    named = NAMED.findall(text)
    assert len(named) == len(re.findall(r"\btest_\w+`", text)) > 50
    for name, place in named:
        file = (PAGE.parent / place).resolve()
        tests = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
        assert name in tests, f"{place} has no {name}"
