"""Files of rows as people have them: exported, saved by mistake, or damaged."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from pipeline.manifest.columns import ColumnRules
from pipeline.manifest.model_check import _number_text
from pipeline.manifest.rows import read_rows
from pipeline.manifest.yaml.document import load

IMAGE = "https://e.com/1.jpg"


def read(data: str | bytes, name: str = "r.csv") -> tuple[list[dict[str, Any]], list[str]]:
    """Return the items of a file and its problems."""
    data = data.encode() if isinstance(data, str) else data
    rows = read_rows(data, file=name, rules=ColumnRules("inputImage"), max_items=1000)
    return rows.items, list(map(str, rows.problems))


@pytest.mark.parametrize(
    "row",
    [
        "\xa0,\xa0,\xa0",
        "\u200b,\ufeff,\u2060",
        '"","",""',
        '="",,=""',
        "#N/A,#REF!,",
        "#NV,#BEZUG!,",
        ",,,,,",
        " , , ,,",
    ],
)
def test_rows_that_look_empty_are_skipped(row: str) -> None:
    assert read(f"id,image,prompt\na,{IMAGE},x\n{row}\n") == ([{"id": "a", "image": IMAGE, "prompt": "x"}], [])


def test_a_header_is_compared_without_characters_of_no_width() -> None:
    assert read("id,prompt\u200b,seed\ufeff\na,x,1\n") == ([{"id": "a", "prompt": "x", "params": {"seed": "1"}}], [])


def test_text_that_is_written_as_a_formula_is_the_text() -> None:
    assert read('id,prompt\n="007","=""say """"hi"""""""\n') == ([{"id": "007", "prompt": 'say "hi"'}], [])


@pytest.mark.parametrize("cell", ["#VALUE!", "#NAME?", "=A1", "=$B$2&C3", '"=IMAGE(""https://e.com/1.jpg"")"'])
def test_a_formula_or_its_error_is_not_sent_to_the_model(cell: str) -> None:
    _, problems = read(f"id,prompt\na,{cell}\n")
    assert [problem.partition(",")[0][:21] for problem in problems] == ["r.csv:2:1: prompt has"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ":", "^", "."])
@pytest.mark.parametrize("line", ["sep={}", '"sep={}"', "\ufeffsep={}", "SEP={}{}{}"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_the_line_that_names_the_separator_may_name_any(separator: str, line: str, encoding: str) -> None:
    if line.startswith("SEP") and separator not in ",;\t|":
        return
    text = f"{line.replace('{}', separator)}\r\nid{separator}prompt\r\na{separator}x y\r\n"
    assert read(text.encode(encoding)) == ([{"id": "a", "prompt": "x y"}], [])


def test_columns_may_be_separated_by_bars() -> None:
    assert read("id|prompt\na|x, y\n") == ([{"id": "a", "prompt": "x, y"}], [])


def test_two_columns_with_one_name_in_another_case_are_a_duplicate() -> None:
    (problem,) = read("prompt,seed,Seed\nx,1,2\n")[1]
    assert problem.startswith("r.csv:1:13: the columns 'seed' and 'Seed' both are the seed: keep one.")


def test_a_title_above_the_header_is_named() -> None:
    (problem,) = read("My campaign,,\n\nid,image,prompt\n")[1]
    assert problem.endswith("Line 3 does: delete what is above it")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('id,prompt\na,x\nb,"open\nc,y\nd,z\n', "3:3"),
        ('id,prompt\na,"two\nlines"\nb,"open\nc,y\n', "4:3"),
        ('id,prompt,note\na,"two\nlines","open\nc,y,z\n', "3:8"),
        ('id,prompt\na,"open\nb,"closed"\n', "2:3"),
        ('id,prompt\na,"5" screen"\n', "2:3"),
        ('id,prompt\na,"x ""y"" z"\nb,"a \\"b\\" c"\n', "3:3"),
        ('"id,prompt\na,x\n', "1:1"),
    ],
)
def test_quotes_that_do_not_match_are_named_where_they_open(text: str, place: str) -> None:
    (problem,) = read(text)[1]
    assert problem.startswith(f"r.csv:{place}: not CSV: the quotes")


def test_a_cell_that_is_too_long_is_named_where_it_begins() -> None:
    message = "a cell has more than 131,072 characters: shorten it, or close its quote"
    assert read(f"id,prompt\na,{'x' * 131_073}\n")[1] == [f"r.csv:2:3: {message}"]
    assert read(f"id,{'p' * 131_073}\na,x\n")[1] == [f"r.csv:1:4: {message}"]
    lines = "y\n" * 70_000
    assert read(f'id,prompt,note\na,"two\nlines","{lines}"\n')[1] == [f"r.csv:3:8: {message}"]


@pytest.mark.parametrize("cell", ["\u201cx, y\u201d", "'x, y'", ' "x, y"'])
def test_quotes_that_are_none_of_csv_are_explained(cell: str) -> None:
    (problem,) = read(f"id,prompt\na,{cell}\n")[1]
    assert problem.endswith('put cells with a comma in quotes: straight ones ("), without a blank before them')


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16-le", "utf-16-be"])
def test_a_text_in_a_wide_encoding_is_read_whatever_its_first_letter_is(encoding: str) -> None:
    text = "\u63d0\u793a,prompt\r\na,Sie l\xe4chelt\r\n"
    data = text.encode(encoding)
    assert read(data) == ([{"prompt": "Sie l\xe4chelt", "params": {"\u63d0\u793a": "a"}}], [])


def test_letters_of_old_programs_for_the_mac_are_not_guessed() -> None:
    (problem,) = read("prompt\nSie l\xe4chelt\n".encode("mac-roman"))[1]
    assert problem.startswith("r.csv:2:6: byte 12 is not UTF-8, nor Windows-1252")


def archive(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, "x" * 10_000)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (archive("[Content_Types].xml", "xl/workbook.xml"), "is an Excel workbook: save it as CSV"),
        (archive("Index/Document.iwa"), "is a Numbers document: save it as CSV"),
        (archive("photos/1.jpg"), "is a ZIP archive: unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is an old Excel workbook"),
        (b"\n<!DOCTYPE html>\n<html><body><table>", "is a web page"),
        ("\ufeff<html>".encode("utf-16"), "is a web page"),
        (b"\x1f\x8b\x08\x00", "is compressed: unpack it"),
    ],
)
@pytest.mark.parametrize("name", ["r.csv", "r.CSV", "r.tsv", "r.jsonl", "r.xlsx", "m.yaml"])
def test_another_kind_of_file_is_named_with_what_to_do(data: bytes, expected: str, name: str) -> None:
    is_rows = name not in ("r.xlsx", "m.yaml")
    (problem,) = read(data, name)[1] if is_rows else map(str, load(data, file=name).problems)
    assert problem.startswith(f"{name}:1:1: this {expected}")


def test_lines_of_json_may_have_a_mark_blank_lines_and_commas_at_their_ends() -> None:
    text = '\ufeff\n{"prompt":"x"},\r\n \xa0\n{"prompt":"y",},\n{"prompt":"z"}\n'
    assert read(text, "r.jsonl") == ([{"prompt": "x"}, {"prompt": "y"}, {"prompt": "z"}], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[\n{"prompt":"x"},\n]\n', "r.jsonl:1:1: a line must be a whole object"),
        ('{\n  "prompt": "x"\n}\n', "r.jsonl:1:1: a line must be a whole object"),
        ('{"prompt":"\\ud83d"}\n', "r.jsonl:1:14: not JSON: a \\u escape is half of a character"),
        ('{"prompt":"x"}{"prompt":"y"}\n', "r.jsonl:1:15: not JSON: there is text behind the end of the value"),
        ('{"prompt":"x","prompt":"y"}\n', "r.jsonl:1:15: 'prompt' is a duplicate: keep one"),
    ],
)
def test_what_is_wrong_with_a_line_of_json_is_said_in_words(text: str, expected: str) -> None:
    (problem,) = read(text, "r.jsonl")[1]
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,5", "1.5"), ("-0,125", "-0.125"), (" 12,25 ", "12.25"), ("1,500", ""), ("1.234,5", ""), ("5", "5"), ("x", "")],
)
def test_a_decimal_comma_is_read_unless_it_may_separate_thousands(text: str, number: str) -> None:
    assert _number_text(text) == number
