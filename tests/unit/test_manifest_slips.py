"""Slips of editors and word processors in manifests and rows: the message states what to do."""

from __future__ import annotations

import pytest

from pipeline.manifest.columns import ColumnRules
from pipeline.manifest.messages import unknown_key
from pipeline.manifest.rows import read_rows
from pipeline.manifest.yaml.document import load

ROW = '{"image": "https://example.com/1.jpg", "prompt": "hi"}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"items:\n  - image: x\n\tprompt: y\n", "m.yaml:3:1: not YAML: a tab is here. Indent with spaces, not tabs"),
        ("version: 1\n".encode("utf-16"), "m.yaml:1:1: this is UTF-16 text: save the file as UTF-8"),
        (b"\xfe\xff" + "version: 1\n".encode("utf-16-be"), "m.yaml:1:1: this is UTF-16 text: save the file as UTF-8"),
    ],
)
def test_a_manifest_that_an_editor_spoiled_has_advice(text: bytes, expected: str) -> None:
    assert [str(problem) for problem in load(text, file="m.yaml").problems] == [expected]


def test_a_no_break_space_in_a_key_is_named() -> None:
    message = unknown_key("prompt\u00a0", ["image", "prompt"])
    assert "a no-break space (U+00A0) is in it: delete it" in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("# comment", "JSON has no comments: delete this line"),
        ("// comment", "JSON has no comments: delete this line"),
        ("{\u201cimage\u201d: \u201cx\u201d}", "straight quotes"),
    ],
)
def test_a_line_that_is_no_json_is_named_with_its_line(line: str, expected: str) -> None:
    rules = ColumnRules("inputImage", "owner/model", None, (), "")
    rows = read_rows(f"{ROW}{line}\n".encode(), file="r.jsonl", rules=rules, max_items=10)
    assert len(rows.items) == 1
    assert [problem.line for problem in rows.problems] == [2]
    assert expected in rows.problems[0].message
