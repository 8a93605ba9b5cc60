"""schedules.yaml: valid files, and the position of every problem."""

from __future__ import annotations

import pytest

from pipeline.errors import InvalidSchedules
from pipeline.manifest.entry_list import MAX_ENTRIES
from pipeline.schedules.schedule import CatchUp, Overlap, Schedule
from pipeline.schedules.schema import parse_schedules


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidSchedules) as caught:
        parse_schedules(text.encode(), file="schedules.yaml")
    return str(caught.value).splitlines()


def test_the_example_of_the_documentation_is_valid() -> None:
    text = b"""schedules:
  - {name: nightly, cron: "0 2 * * *", timezone: Europe/Berlin, manifest: s3://bucket/nightly.yaml,
     overlap: skip, catch_up: last, catch_up_window: 24h, jitter_s: 0, enabled: true}
"""
    (schedule,) = parse_schedules(text, file="schedules.yaml")
    assert schedule == Schedule("nightly", "0 2 * * *", "s3://bucket/nightly.yaml", "Europe/Berlin")
    assert schedule.catch_up_window_s == 86_400


def test_optional_keys_have_defaults() -> None:
    text = b"""
schedules:
- name: 007
  cron: '@daily'
  manifest: seven.yaml
- name: often
  cron: '*/5 * * * *'
  manifest: ../often.yaml
  timezone: Asia/Tokyo
  overlap: queue
  catch_up: all
  catch_up_window: 1.5h
  jitter_s: 30
  enabled: off
"""
    seven, often = parse_schedules(text, file="schedules.yaml")
    assert seven == Schedule("007", "@daily", "seven.yaml", "UTC", Overlap.SKIP, CatchUp.LAST, "24h", 0, True)
    window = ("1.5h", 30, False)
    assert often == Schedule("often", "*/5 * * * *", "../often.yaml", "Asia/Tokyo", Overlap.QUEUE, CatchUp.ALL, *window)
    assert often.catch_up_window_s == 5400


def test_an_empty_list_of_schedules_is_valid() -> None:
    assert parse_schedules(b"schedules: []\n", file="schedules.yaml") == ()


def test_every_problem_of_schedules_is_reported_with_its_position() -> None:
    text = """schedules:
  - name: Nightly!
    cron: 0 25 * * *
    timezone: Europe/Berln
    manifest: https://example.com/m.yaml
    overlap: maybe
    catch_up: some
    catch_up_window: 24
    jitter_s: -1
    enabled: 1
    retries: 3
  - cron: "@reboot"
  - nightly
  - {name: a, cron: "* * * * *", manifest: a.yaml}
  - {name: a, cron: "* * * * *", manifest: s3://bucket}
every: day
"""
    reported = problems(text)
    assert [line.split(": ")[0] for line in reported] == [
        "schedules.yaml:2:11",
        "schedules.yaml:3:11",
        "schedules.yaml:4:15",
        "schedules.yaml:5:15",
        "schedules.yaml:6:14",
        "schedules.yaml:7:15",
        "schedules.yaml:8:22",
        "schedules.yaml:9:15",
        "schedules.yaml:10:14",
        "schedules.yaml:11:5",
        "schedules.yaml:12:5",
        "schedules.yaml:12:5",
        "schedules.yaml:12:11",
        "schedules.yaml:13:5",
        "schedules.yaml:15:12",
        "schedules.yaml:15:44",
        "schedules.yaml:16:1",
    ]
    messages = "\n".join(reported)
    for part in ("not 'Nightly!'", "'25' is no hour", "IANA", "s3://bucket/key", "'skip', 'queue' or 'allow'", "24h"):
        assert part in messages
    for part in ("'none', 'last' or 'all'", "at least 0", "true or false", "unknown key 'retries'", "name is missing"):
        assert part in messages
    for part in ("manifest is missing", "the macros are", "two schedules", "unknown key 'every'"):
        assert part in messages


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "schedules:\n",
        "schedules: {}\n",
        "- name: a\n",
        "schedules: [\n",
        "schedules: []\nschedules: []\n",
        "schedules: !!python/object:os.system []\n",
        "schedules: [&a {name: a, cron: '@daily', manifest: a.yaml}, *a]\n",
        "schedules: [" + "{}," * (MAX_ENTRIES + 1) + "]\n",
        "schedules: " + "[" * 50 + "]" * 50 + "\n",
        "# " + "x" * 1_000_001,
    ],
)
def test_a_file_that_is_not_a_list_of_schedules_is_refused(text: str) -> None:
    assert problems(text)
