"""Every test that docs/guarantees.md links exists in the linked file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
TEST_LINK = re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")


def test_every_test_named_on_the_page_exists() -> None:
    text = PAGE.read_text()
    links = TEST_LINK.findall(text)
    assert len(links) == len(re.findall(r"\btest_\w+`", text)) > 50
    for name, place in links:
        file = (PAGE.parent / place).resolve()
        tests = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
        assert name in tests, f"{place} has no {name}"
