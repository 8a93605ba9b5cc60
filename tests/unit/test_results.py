import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import results
from pipeline.domain.model import BatchRow, ItemRow, Output, Review

TEXT = st.none() | st.text(max_size=40).filter(lambda text: text.isprintable())
ROWS = st.builds(
    ItemRow,
    id=st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
    status=st.sampled_from(["succeeded", "failed"]),
    image=TEXT,
    prompt=TEXT,
    params=st.dictionaries(st.text(max_size=5), st.integers() | st.booleans(), max_size=3),
    task_id=TEXT,
    attempts=st.integers(0, 9),
    cost_usd=st.decimals(0, 100, places=6).map(lambda cost: cost.normalize() + 0),
    elapsed_s=st.none() | st.decimals(0, 1000, places=2).map(lambda s: Decimal(str(float(s)))),
    error=TEXT,
    outputs=st.lists(st.just(Output("s3://b/x.mp4", "video/mp4", 9, "ab")), max_size=2).map(tuple),
)


A_BATCH = BatchRow(
    id="b",
    name="b",
    model="m/n",
    status="succeeded",
    counts={"succeeded": 1},
    total=1,
    cost_usd=Decimal("0.0900"),
    created=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    finished=datetime(2026, 1, 2, 3, 5, 0, tzinfo=UTC),
    output="s3://bucket/b/",
    trigger="cli",
)


@given(ROWS)
def test_a_row_can_be_restored_from_its_document(row: ItemRow) -> None:
    assert results.row_from_document(json.loads(json.dumps(results.item_document(row)))) == row


def test_results_json_has_the_documented_fields() -> None:
    row = ItemRow("i", "succeeded", "https://x/1.jpg", "smile", outputs=(Output("s3://b/0.mp4", "video/mp4", 9, "ab"),))
    document = json.loads(b"".join(results.as_json(A_BATCH, [row])))
    assert list(document) == [
        "version", "revision", "id", "name", "model", "status", "total", "counts", "cost_usd", "created", "finished",
        "trigger", "items",
    ]  # fmt: skip
    assert (document["cost_usd"], document["created"]) == ("0.09", "2026-01-02T03:04:05Z")
    assert list(document["items"][0]) == [
        "id", "status", "image", "prompt", "params", "task_id", "attempts", "cost_usd", "elapsed_s", "error", "outputs",
    ]  # fmt: skip
    assert document["items"][0]["outputs"] == [
        {"uri": "s3://b/0.mp4", "content_type": "video/mp4", "size": 9, "sha256": "ab"}
    ]


def test_the_revision_is_in_the_first_bytes() -> None:
    whole = b"".join(results.as_json(replace(A_BATCH, revision=12), []))
    assert results.revision_of(whole[: results.HEAD_BYTES]) == 12
    assert results.revision_of(b"<html>") == 0


@given(st.lists(ROWS, max_size=4))
def test_jsonl_has_a_line_for_each_item_in_order(rows: list[ItemRow]) -> None:
    lines = b"".join(results.as_jsonl(rows)).decode().splitlines()
    assert [json.loads(line)["id"] for line in lines if line] == [row.id for row in rows]


def test_the_table_has_a_byte_order_mark_for_excel_and_python_reads_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_bytes(b"".join(results.as_csv([ItemRow("i", "failed", None, "Sie lächelt")])))
    # Excel takes a file without a byte order mark for the code page of the system.
    assert file.read_bytes().startswith(b"\xef\xbb\xbfid,status,")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["id"], row["prompt"]) == ("i", "Sie lächelt")


def test_csv_cells_are_not_formulas() -> None:
    row = ItemRow("i", "failed", None, '=cmd|"/c calc"!A1', error='a "quoted", broken\nline')
    text = b"".join(results.as_csv([row])).decode("utf-8-sig")
    header, cells = list(csv.reader(io.StringIO(text)))
    row_cells = dict(zip(header, cells, strict=True))
    assert row_cells["prompt"] == "'" + '=cmd|"/c calc"!A1'
    assert row_cells["error"] == 'a "quoted", broken\nline'


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe62", "\u2212"])
@pytest.mark.parametrize("before", ["", " ", "\n", "\r\n", "\t", "\xa0 ", "\u3000", "\u200b", "\ufeff", "\x00", " \n "])
def test_a_cell_that_a_spreadsheet_takes_for_a_formula_begins_with_a_quote(before: str, sign: str) -> None:
    text = f"{before}{sign}cmd|' /C calc'!A0"
    row = ItemRow("i", "failed", text, text, error=text, review=Review("approved", text))
    header, cells = list(csv.reader(io.StringIO(b"".join(results.as_csv([row])).decode("utf-8-sig"), newline="")))
    row_cells = dict(zip(header, cells, strict=True))
    for column in ("image", "prompt", "error", "note"):
        assert row_cells[column] == f"'{text}"


@pytest.mark.parametrize("text", ["", "smile", " smile", "5 - 3", "(x)", "\u201csmile\u201d", "s3://b/1.jpg", "\u5fae"])
def test_other_cells_are_as_they_were_written(text: str) -> None:
    _, cells = list(
        csv.reader(io.StringIO(b"".join(results.as_csv([ItemRow("i", "failed", None, text)])).decode("utf-8-sig")))
    )
    assert cells[3] == text


def test_a_lone_surrogate_does_not_break_the_results() -> None:
    row = ItemRow("i", "failed", None, "\ud800")
    assert json.loads(b"".join(results.as_jsonl([row])))["prompt"] == "?"


def test_money_is_plain_decimal_text() -> None:
    assert [results.money(Decimal(text)) for text in ("0", "0.00", "90", "0.003510000000", "1E+2")] == [
        "0", "0", "90", "0.00351", "100",
    ]  # fmt: skip
