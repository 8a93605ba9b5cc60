"""Which files the folder of a batch has, and the names of outputs outside of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.ledger_fixtures import a_row

from pipeline.domain.batch_files import OutputNames, media_files
from pipeline.domain.ids import is_item_id
from pipeline.domain.model import ItemRow, Output

BATCH = a_row("b", 1)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True).filter(is_item_id)


def an_item(item_id: str = "woman-1", *names: str, image: str | None = None) -> ItemRow:
    outputs = tuple(Output(f"{BATCH.output}{name}", "video/mp4", 9, "ab") for name in names)
    return ItemRow(item_id, "succeeded", image, "p", outputs=outputs)


def names(*rows: ItemRow) -> list[str]:
    used = OutputNames()
    return [used.name(row, number) for row in rows for number in range(len(row.outputs))]


def test_an_output_is_named_after_its_item_and_numbered_only_if_there_are_several() -> None:
    assert names(an_item("woman-1", "items/woman-1/0.mp4")) == ["woman-1.mp4"]
    assert names(an_item("man", "items/man/0.mp4", "items/man/1.png")) == ["man-1.mp4", "man-2.png"]


def test_names_that_only_some_systems_distinguish_or_keep_for_devices_are_not_used() -> None:
    rows = [an_item(name, "0.mp4") for name in ("A", "a", "con", "NUL.x", "console")]
    assert names(*rows) == ["A.mp4", "a (2).mp4", "_con.mp4", "_NUL.x.mp4", "console.mp4"]
    assert names(an_item("a", "0.mp4", "1.mp4"), an_item("a-1", "0.mp4")) == ["a-1.mp4", "a-2.mp4", "a-1 (2).mp4"]


@given(st.lists(st.tuples(IDS, st.integers(1, 3)), unique_by=lambda pair: pair[0]))
def test_every_output_has_a_name_of_its_own(items: list[tuple[str, int]]) -> None:
    rows = [an_item(item_id, *(f"{n}.mp4" for n in range(count))) for item_id, count in items]
    found = [name.casefold() for name in names(*rows)]
    assert len(set(found)) == len(found) == sum(count for _, count in items)


def test_files_are_the_outputs_and_the_images_in_the_folder_each_once() -> None:
    image = f"{BATCH.output}inputs/{'a' * 64}.jpg"
    rows = [
        an_item("a", "items/a/0.mp4", image=image),
        an_item("b", image=image),
        an_item("c", image="s3://other/1.jpg"),
    ]
    found = list(media_files(BATCH, rows))
    assert [file.path for file in found] == ["items/a/0.mp4", f"inputs/{'a' * 64}.jpg"]
    assert [(file.size, file.sha256) for file in found] == [(9, "ab"), (None, "a" * 64)]


def test_a_record_cannot_name_a_file_outside_of_the_folder() -> None:
    for name in ("../x.mp4", "/x.mp4", "items/../../x.mp4", "items\\..\\x.mp4", "items//x.mp4", "%2e%2e/x.mp4"):
        assert list(media_files(BATCH, [an_item("a", name)])) == []
    elsewhere = replace(an_item("a"), outputs=(Output("s3://bucket/b2/0.mp4", "video/mp4", 9, "ab"),))
    assert list(media_files(BATCH, [elsewhere])) == []
