"""The placeholders that a schedule replaces in its manifest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.domain.model import Manifest
from pipeline.errors import InvalidManifest
from pipeline.manifest.parser import parse
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.template_values import template_values

NIGHTLY = Schedule("nightly", "0 2 * * *", "nightly.yaml", "Asia/Tokyo")
MOMENT = datetime(2026, 7, 26, 17, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{schedule}-{date}", "nightly-2026-07-27"),
        ("at {time} o'clock", "at 0200 o'clock"),
        ("{{date}} is not {date}", "{date} is not 2026-07-27"),
        ("{other} { date } {} {0} {date", "{other} { date } {} {0} {date"),
        ("{date.year} {date!r} {date:%Y}", "{date.year} {date!r} {date:%Y}"),
        ("{{{date}}}", "{{date}}"),
        ("%(date)s $date \\{date}", "%(date)s $date \\2026-07-27"),
        ("", ""),
    ],
)
def test_only_three_placeholders_are_replaced(text: str, expected: str) -> None:
    assert template_values(NIGHTLY, MOMENT)(text) == expected


def parsed(text: str, rows: bytes = b"") -> Manifest:
    return parse(
        text.encode(), file="m.yaml", read_rows=lambda _: rows, local_files=None, fill=template_values(NIGHTLY, MOMENT)
    )


def test_placeholders_are_replaced_before_validation() -> None:
    manifest = parsed(
        """
version: 1
name: "{schedule}-{date}"
output: s3://bucket/{date}/{time}/
params: {style: "{date}"}
items:
- {image: "https://example.com/{date}.jpg", prompt: "on {date}", params: {note: "{date}"}}
- &shared {prompt: "{{date}}"}
- *shared
matrix: {images: ["https://example.com/1.jpg"], prompts: ["at {time}"]}
items_from: s3://bucket/rows.csv
""",
        b'id,prompt,note\nrow,"row of {schedule}",{date}\n',
    )
    assert (manifest.name, manifest.output) == ("nightly-2026-07-27", "s3://bucket/2026-07-27/0200/")
    assert [item.prompt for item in manifest.items] == [
        *("on 2026-07-27", "{date}", "{date}"),
        *("at 0200", "row of nightly"),
    ]
    assert manifest.items[0].image == "https://example.com/{date}.jpg"
    assert (manifest.params, manifest.items[0].params) == ({"style": "{date}"}, {"note": "{date}"})
    assert manifest.items[-1].params == {"note": "{date}"}


def test_replaced_values_cannot_become_yaml_and_problems_keep_their_positions() -> None:
    with pytest.raises(InvalidManifest) as caught:
        parsed('version: 1\nname: "{Date}"\nitems:\n- {prompt: [1]}\n- 7\n')
    assert [str(problem).split(": ")[0] for problem in caught.value.problems] == [
        "m.yaml:2:7",
        "m.yaml:4:12",
        "m.yaml:5:3",
    ]
