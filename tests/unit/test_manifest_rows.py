"""Rows of CSV and JSONL files in a manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.manifests import HEAD, all_problems, only_problem, parse_manifest

from pipeline.domain.model import Item
from pipeline.errors import InvalidManifest, StorageError
from pipeline.manifest import parser as manifests
from pipeline.manifest.parser import MAX_ITEMS


def test_rows_must_be_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt\nx\n")
    (tmp_path / "out.csv").symlink_to("/etc/passwd")
    rows = {"rows.csv": (tmp_path / "rows.csv").read_bytes()}
    assert parse_manifest(HEAD + "items_from: rows.csv\n", rows, tmp_path).items[0].prompt == "x"
    assert "is a link out of it" in only_problem(HEAD + "items_from: out.csv\n", folder=tmp_path)
    assert "is a file that does not exist" in only_problem(HEAD + "items_from: no.csv\n", folder=tmp_path)


def test_rows_that_cannot_be_read_are_a_problem_unless_the_error_is_retryable() -> None:
    def read(reference: str) -> bytes:
        raise StorageError(f"There is no object {reference}.", retryable="later" in reference)

    for reference in ("s3://bucket/rows.csv", "s3://bucket/later.csv"):
        text = f"{HEAD}items_from: {reference}\n".encode()
        with pytest.raises(StorageError if "later" in reference else InvalidManifest, match="There is no object"):
            manifests.parse(text, file="m.yaml", read_rows=read, local_files=None)


def a_row(name: str, text: str | bytes) -> Item:
    data = text.encode() if isinstance(text, str) else text
    return parse_manifest(f"{HEAD}items_from: {name}\n", {name: data}).items[0]


def test_rows_of_csv_are_items() -> None:
    assert a_row("s3://bucket/r.csv", 'id, seed ,prompt\r\n7,1.50,"two\r\nlines, ""here"""\r\n') == Item(
        "7", None, 'two\r\nlines, "here"', {"seed": "1.50"}
    )
    assert a_row("r.csv", "\ufeffprompt,id\n\nx,\n").prompt == "x"


def test_rows_of_jsonl_are_items() -> None:
    row = {"id": 7, "prompt": "x", "seed": 1, "params": {"ratio": "16:9"}, "image": None}
    assert a_row("r.jsonl", f"\n{json.dumps(row)}\n\n") == Item("7", None, "x", {"ratio": "16:9", "seed": 1})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("r.csv", "", "r.csv:1:1: the file is empty"),
        ("r.csv", "id;image;prompt\n1;a;b\n", "r.csv:1:1: columns must be separated by commas"),
        ("r.csv", "a,b\n1,2\n", "r.csv:1:1: there is no column image or prompt"),
        ("r.csv", "prompt,Prompt\nx,y\n", "r.csv:1:1: the column 'Prompt' must be written prompt"),
        ("r.csv", "prompt,prompt\nx,y\n", "r.csv:1:1: the column 'prompt' is a duplicate"),
        ("r.csv", "prompt,callbackUrl\nx,y\n", "r.csv:1:1: the column 'callbackUrl' cannot be a param"),
        ("r.csv", "prompt,\nx,y\n", "r.csv:1:1: the column '' cannot be a param's name"),
        ("r.csv", "prompt,params\nx,y\n", "r.csv:1:1: 'params' cannot be a column"),
        ("r.csv", 'prompt,a\n"x\ny",1\nz\n', "r.csv:4:1: the row has 1 cells, the header has 2"),
        ("r.csv", 'prompt\nx\n"y\n', "r.csv:3:1: not CSV: unexpected end of data"),
        ("r.csv", "prompt\nx\n\x07\n", "r.csv:3:1: control characters are not allowed"),
        ("r.csv", b"prompt\nx\n\xff\n", "r.csv:3:1: byte 9 is not UTF-8"),
        ("r.csv", "prompt,image\nx,\n,\n,ftp://e\n", "r.csv:4:1: image must be an https:// or s3:// address"),
        ("r.csv", "prompt\n", "m.yaml:3:13: items_from has no rows below its header"),
        ("r.jsonl", '{"prompt": "x"}\n[1]\n', "r.jsonl:2:1: a line must be an object"),
        ("r.jsonl", '{"prompt": "x"}\n{"prompt": }}\n', "r.jsonl:2:13: not JSON"),
        ("r.jsonl", '{"prompt": "x"}\n{"prompt": "y", "a": NaN}\n', "r.jsonl:2:22: 'NaN' is not a finite number"),
        ("r.jsonl", '{"prompt": "x", "prompt": "y"}\n', "r.jsonl:1:17: 'prompt' is a duplicate"),
        ("r.jsonl", '{"prompt": "x", "a": 1, "params": {"a": 2}}\n', "r.jsonl:1:17: the param 'a' is a duplicate"),
        ("r.jsonl", '{"prompt": "x", "params": 5}\n', "r.jsonl:1:27: params must be an object"),
        ("r.jsonl", '{"prompt": "x", "projectid": 5}\n', "r.jsonl:1:1: params.projectid cannot be a param"),
        ("r.jsonl", '{"prompt": "\\ud800"}\n', "r.jsonl:1:15: not JSON"),
    ],
)
def test_problems_in_rows_are_reported_with_their_lines(name: str, text: str | bytes, expected: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    first, *others = all_problems(f"{HEAD}items_from: {name}\n", {name: data})
    assert first.startswith(expected)
    assert others == []


def test_the_number_of_rows_is_bounded() -> None:
    rows = {"r.csv": b"prompt\n" + b"x\n" * (MAX_ITEMS + 10)}
    assert "more than 200,000 items" in only_problem(HEAD + "items_from: r.csv\n", rows=rows)
