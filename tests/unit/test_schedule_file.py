"""schedules.yaml: what it takes, and that every mistake is named with its line."""

from __future__ import annotations

import pytest

from pipeline.errors import InvalidSchedules
from pipeline.manifest.yaml.entries import MAX_ENTRIES
from pipeline.schedules.schedule import CatchUp, Overlap, Schedule, parse


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidSchedules) as caught:
        parse(text.encode(), file="schedules.yaml")
    return str(caught.value).splitlines()


def test_the_contracts_example_is_read() -> None:
    text = b"""schedules:
  - {name: nightly, cron: "0 2 * * *", timezone: Europe/Berlin, manifest: s3://bucket/nightly.yaml,
     overlap: skip, catch_up: last, catch_up_window: 24h, jitter_s: 0, enabled: true}
"""
    (found,) = parse(text, file="schedules.yaml")
    assert found == Schedule("nightly", "0 2 * * *", "s3://bucket/nightly.yaml", "Europe/Berlin")
    assert found.catch_up_window_s == 86_400


def test_all_else_has_defaults_and_values_of_its_own() -> None:
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
    seven, often = parse(text, file="schedules.yaml")
    assert seven == Schedule("007", "@daily", "seven.yaml", "UTC", Overlap.SKIP, CatchUp.LAST, "24h", 0, True)
    window = ("1.5h", 30, False)
    assert often == Schedule("often", "*/5 * * * *", "../often.yaml", "Asia/Tokyo", Overlap.QUEUE, CatchUp.ALL, *window)
    assert often.catch_up_window_s == 5400


def test_no_schedules_are_schedules() -> None:
    assert parse(b"schedules: []\n", file="schedules.yaml") == ()


def test_every_mistake_is_named_with_its_line() -> None:
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
    found = problems(text)
    assert [line.split(": ")[0] for line in found] == [
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
    whole = "\n".join(found)
    for told in ("'Nightly!' is no name", "bad hour", "IANA", "s3://bucket/key", "skip, queue or allow", "24h"):
        assert told in whole
    for told in ("none, last or all", "from 0 to", "true or false", "'retries' is not known", "needs 'name'"):
        assert told in whole
    for told in ("needs 'manifest'", "the macros are", "two schedules", "'every' is not known"):
        assert told in whole


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
def test_what_is_not_a_list_of_schedules_is_refused(text: str) -> None:
    assert problems(text)
