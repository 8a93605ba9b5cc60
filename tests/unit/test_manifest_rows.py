"""Rows of CSV and JSONL files in a manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.manifests import HEAD, all_problems, only_problem, parse_manifest

from pipeline.domain.model import Item
from pipeline.errors import InvalidManifest, StorageError
from pipeline.manifest import parser as manifests
from pipeline.manifest.columns import ColumnRules
from pipeline.manifest.parser import MAX_ITEMS
from pipeline.manifest.rows import Rows, read_rows


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
        ("r.csv", "a,b\n1,2\n", "r.csv:1:1: there is no column image or prompt"),
        ("r.csv", "prompt,Prompt\nx,y\n", "r.csv:1:8: the columns 'prompt' and 'Prompt' both are the prompt: keep one"),
        ("r.csv", "prompt,prompt\nx,y\n", "r.csv:1:8: the column 'prompt' is a duplicate"),
        ("r.csv", "prompt,callbackUrl\nx,y\n", "r.csv:1:8: the column 'callbackUrl' cannot be a param"),
        ("r.csv", "prompt,\nx,y\n", "r.csv:2:1: 'y' is in a column without a name"),
        ("r.csv", "prompt,params\nx,y\n", "r.csv:1:8: the column 'params' cannot be one"),
        ("r.csv", 'a,prompt\n1,"x\ny"\nz\n', "r.csv:4:1: the row has 1 cells, the header has 2"),
        ("r.csv", "prompt,a\nx, y,1\n", "r.csv:2:1: the row has 3 cells, the header has 2: put cells with a comma in"),
        ("r.csv", 'prompt\nx\n"y\n', "r.csv:3:1: not CSV: the quotes"),
        ("r.csv", "prompt\nx\n\x07\n", "r.csv:3:1: control characters are not allowed"),
        ("r.csv", b"prompt\nx\n\x81\n", "r.csv:3:1: byte 9 is not UTF-8, nor Windows-1252"),
        ("r.csv", "prompt,image\nx,\n,\n,ftp://e\n", "r.csv:4:1: image must be an https:// or s3:// address"),
        ("r.csv", "prompt\n", "m.yaml:3:13: items_from has no rows below its header"),
        ("r.jsonl", '{"prompt": "x"}\n[1]\n', "r.jsonl:2:1: a line must be an object"),
        ("r.jsonl", '{"prompt": "x"}\n{"prompt": }}\n', "r.jsonl:2:13: not JSON"),
        ("r.jsonl", '{"prompt": "x"}\n{"prompt": "y", "a": NaN}\n', "r.jsonl:2:22: 'NaN' is not a finite number"),
        ("r.jsonl", '{"prompt": "x", "prompt": "y"}\n', "r.jsonl:1:17: 'prompt' is a duplicate"),
        ("r.jsonl", '{"prompt": "x", "a": 1, "params": {"a": 2}}\n', "r.jsonl:1:17: the param 'a' is a duplicate"),
        ("r.jsonl", '{"prompt": "x", "params": 5}\n', "r.jsonl:1:27: params must be an object"),
        ("r.jsonl", '{"prompt": "x", "projectid": 5}\n', "r.jsonl:1:17: the column 'projectid' cannot be a param"),
        ("r.jsonl", '{"prompt": "\\ud800"}\n', "r.jsonl:1:15: not JSON"),
    ],
)
def test_problems_in_rows_are_reported_with_their_lines(name: str, text: str | bytes, expected: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    first, *others = all_problems(f"{HEAD}items_from: {name}\n", {name: data})
    assert first.startswith(expected)
    assert others == []


TABLES = Path(__file__).parents[1] / "data" / "tables"


def table_rows(
    data: bytes, name: str = "r.csv", rules: ColumnRules | None = None
) -> tuple[list[dict[str, object]], list[str], Rows]:
    """Return the items of a file, its problems as text, and all that was read."""
    rows = read_rows(data, file=name, rules=rules or ColumnRules("inputImage"), max_items=1000)
    return rows.items, list(map(str, rows.problems)), rows


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sep-line.csv", {"id": "a", "image": "https://example.com/1.jpg", "prompt": "She smiles"}),
        ("trailing-columns.csv", {"id": "a", "image": "https://example.com/1.jpg", "prompt": "She smiles"}),
        (
            "numbers-de.csv",
            {"id": "1", "image": "https://example.com/1.jpg", "prompt": "Sie lächelt", "params": {"seconds": "5"}},
        ),
    ],
)
def test_a_table_is_read_as_it_was_exported(name: str, expected: dict[str, object]) -> None:
    items, problems, _ = table_rows((TABLES / name).read_bytes(), name)
    assert (items, problems) == ([expected], [])


def test_a_table_of_airtable_has_its_image_and_its_other_columns_are_refused_unless_ignored() -> None:
    data = (TABLES / "airtable.csv").read_bytes()
    rules = ColumnRules("inputImage", "acme/animate", ("prompt", "seconds"))
    assert table_rows(data, rules=rules)[1] == [
        "r.csv:1:21: the model acme/animate has no parameter 'Status': its parameters are seconds. Delete the column, "
        "or pass it over: `dailies submit … --ignore-columns Status`"
    ]
    items, problems, _ = table_rows(data, rules=replace(rules, ignored=("status",)))
    assert problems == []
    assert items == [{"id": "anna", "image": "https://example.com/anna.jpg", "prompt": "She smiles"}]


def test_a_typo_in_a_header_is_an_error_even_if_the_model_is_not_known() -> None:
    _, problems, _ = table_rows((TABLES / "typo-header.csv").read_bytes())
    assert problems[0].startswith("r.csv:1:10: the column 'promt' is unknown: did you mean 'prompt'?")
    _, problems, _ = table_rows(b'{"image": "https://e.com/1.jpg", "promt": "x"}\n', "r.jsonl")
    assert problems[0].startswith("r.jsonl:1:34: the column 'promt' is unknown: did you mean 'prompt'?")


HEADER, ROW = "ID{0}Image URL{0}Prompt {0}{0}", "7{0}https://e.com/1.jpg{0}Sie lächelt{0}{0}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_same_table_is_read_in_every_encoding_and_with_every_delimiter(
    encoding: str, delimiter: str, line_end: str
) -> None:
    text = line_end.join([HEADER, "", " {0}{0} {0}{0}", ROW, ""]).format(delimiter)
    items, problems, rows = table_rows(text.encode(encoding))
    assert (items, problems) == ([{"id": "7", "image": "https://e.com/1.jpg", "prompt": "Sie lächelt"}], [])
    assert rows.lines == [4]
    assert [note.partition(":")[0] for note in rows.notes] == (
        ["r.csv is not UTF-8, it was read as Windows-1252. Check its letters"] if encoding == "cp1252" else []
    )


def test_a_line_that_names_the_separator_decides() -> None:
    for line in ("sep=;", '"sep=;"', "SEP=;;;"):
        assert table_rows(f"{line}\nprompt;a\nx, y;1\n".encode())[0] == [{"prompt": "x, y", "params": {"a": "1"}}]


def test_a_tsv_file_has_tabs_unless_its_header_has_none() -> None:
    assert table_rows(b"prompt\nx, y; z\n", "r.tsv")[0] == [{"prompt": "x, y; z"}]
    assert table_rows(b"id,prompt\na,x\n", "r.tsv")[0] == [{"id": "a", "prompt": "x"}]


def test_the_number_of_columns_is_bounded() -> None:
    names = [f"c{number}" for number in range(300)]
    assert "there are 300 columns: the maximum is 200" in table_rows(",".join(names).encode())[1][0]
    lines = "\n".join(json.dumps({"prompt": "x", name: 1}) for name in names)
    assert "more than 200 different keys" in table_rows(lines.encode(), "r.jsonl")[1][0]


def test_a_column_without_values_needs_no_meaning() -> None:
    rules = ColumnRules("inputImage", "acme/animate", ("prompt",))
    assert table_rows(b"prompt,Notes,,promt\nx,, ,\n", rules=rules)[:2] == ([{"prompt": "x"}], [])


def test_empty_cells_at_the_end_of_a_row_may_be_left_out() -> None:
    assert table_rows(b"id,prompt,seed,note\na,x\n")[:2] == ([{"id": "a", "prompt": "x"}], [])


def test_a_cell_that_is_too_long_is_an_error_with_its_line() -> None:
    long = b"x" * 131_073
    _, problems, _ = table_rows(b"id,prompt\na,x\nb," + long + b"\nc,x\n")
    assert problems == ["r.csv:3:3: a cell has more than 131,072 characters: shorten it, or close its quote"]


def test_ids_are_made_of_names_and_are_unique() -> None:
    items, _, _ = table_rows("Name,Prompt\nAnna Müller,x\nanna müller,y\n!,z\n".encode())
    assert [item["id"] for item in items] == ["anna-mueller", "anna-mueller-2", "item"]


def test_a_cell_with_several_images_is_an_error() -> None:
    cell = b'"a.jpg (https://e.com/a.jpg),b.jpg (https://e.com/b.jpg)"'
    assert table_rows(b"picture,prompt\n" + cell + b",x\n")[1] == ["r.csv:2:1: the cell has 2 images: give each a row"]
    address = "https://e.com/a_(b).jpg"
    assert table_rows(f"image\n{address}\n".encode())[0] == [{"image": address}]


def test_columns_that_may_be_private_are_listed_if_the_model_is_not_known() -> None:
    _, problems, rows = table_rows(b"prompt,Notes,seed\nx,call her,1\n")
    assert problems == []
    assert rows.notes == ["r.csv: sent to the model as parameters, without a check: Notes, seed"]


def test_a_parameter_is_found_in_any_spelling_of_its_header() -> None:
    rules = ColumnRules("inputImage", "acme/animate", ("prompt", "aspectRatio", "seed_number"))
    items, problems, _ = table_rows(b"Prompt,Aspect ratio,SEED NUMBER\nx,16:9,5\n", rules=rules)
    assert (items, problems) == ([{"prompt": "x", "params": {"aspectRatio": "16:9", "seed_number": "5"}}], [])


def test_a_name_to_ignore_that_no_column_has_is_an_error() -> None:
    rules = ColumnRules("inputImage", ignored=("Noets",))
    for name, data in {"r.csv": b"prompt,Notes\nx,y\n", "r.jsonl": b'{"prompt": "x", "Notes": "y"}\n'}.items():
        (problem,) = table_rows(data, name, rules)[1]
        assert problem == f"{name}:1:1: there is no column 'Noets' to ignore: did you mean 'Notes'?"


def test_ignored_columns_of_json_rows_are_passed_over() -> None:
    rules = ColumnRules("inputImage", "acme/animate", ("prompt",), ("Notes",))
    rows = b'{"Prompt": "x", "Notes": "y"}\n{"Notes": "only this"}\n'
    assert table_rows(rows, "r.jsonl", rules)[:2] == ([{"prompt": "x"}], [])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("prompt\nПривет\n".encode("cp1251"), "nor Windows-1252"),
        ("prompt\nこんにちは。\n".encode("cp932"), "nor Windows-1252"),
        ("prompt\nSie lächelt schön ".encode() + b"\xfc\n", "as the rest is"),
        (b"\xff\xfep\0r\0o", "is not UTF-16"),
    ],
)
def test_letters_are_not_guessed(data: bytes, expected: str) -> None:
    _, problems, _ = table_rows(data)
    assert expected in problems[0]


def test_the_number_of_rows_is_bounded() -> None:
    rows = {"r.csv": b"prompt\n" + b"x\n" * (MAX_ITEMS + 10)}
    assert "more than 200,000 items" in only_problem(HEAD + "items_from: r.csv\n", rows=rows)
