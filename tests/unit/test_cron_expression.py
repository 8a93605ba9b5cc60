"""The occurrences of cron lines over years, with and without changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from pipeline.schedules.cron_expression import MACROS, Cron, zone

CHANGES = [
    ("Europe/Berlin", "2024-03-31"),
    ("Europe/Berlin", "2024-10-27"),
    ("America/New_York", "2024-03-10"),
    ("America/New_York", "2024-11-03"),
    ("Australia/Lord_Howe", "2024-04-07"),  # by half an hour
    ("Australia/Lord_Howe", "2024-10-06"),
    ("America/Sao_Paulo", "2018-11-04"),  # at midnight
    ("America/Sao_Paulo", "2018-02-18"),
    ("Antarctica/Troll", "2024-03-31"),  # by two hours
    ("Antarctica/Troll", "2024-10-27"),
    ("Asia/Kathmandu", "2024-03-31"),  # never, but its offset has a quarter of an hour
]
MINUTE = timedelta(minutes=1)


def occurrences(line: str, zone: str, start: str, end: str) -> list[str]:
    """Return the occurrences between two local times, as local times with their offset."""
    place = ZoneInfo(zone)
    first, last = (datetime.fromisoformat(text).replace(tzinfo=place).astimezone(UTC) for text in (start, end))
    found = takewhile(lambda occurrence: occurrence <= last, Cron(line, place).after(first - MINUTE))
    return [f"{occurrence.astimezone(place):%Y-%m-%dT%H:%M%z}" for occurrence in found]


@pytest.mark.parametrize(
    ("zone", "day", "line", "expected"),
    [
        ("Europe/Berlin", "2024-03-31", "30 2 * * *", ["03:00+0200"]),
        ("Europe/Berlin", "2024-03-31", "*/20 2 * * *", ["03:00+0200"]),
        ("Europe/Berlin", "2024-03-31", "15 2,3 * * *", ["03:00+0200", "03:15+0200"]),
        ("Europe/Berlin", "2024-03-31", "0 2,3 * * *", ["03:00+0200"]),
        ("America/New_York", "2024-03-10", "30 2 * * *", ["03:00-0400"]),
        ("Australia/Lord_Howe", "2024-10-06", "15 2 * * *", ["02:30+1100"]),
        ("America/Sao_Paulo", "2018-11-04", "@daily", ["01:00-0200"]),
        ("Antarctica/Troll", "2024-03-31", "30 1 * * *", ["03:00+0200"]),
    ],
)
def test_a_local_time_that_does_not_exist_occurs_once_at_the_next_minute_that_exists(
    zone: str, day: str, line: str, expected: list[str]
) -> None:
    assert occurrences(line, zone, f"{day}T00:00", f"{day}T23:59") == [f"{day}T{time}" for time in expected]


@pytest.mark.parametrize(
    ("zone", "day", "line", "expected"),
    [
        ("Europe/Berlin", "2024-10-27", "30 2 * * *", ["02:30+0200"]),
        ("Europe/Berlin", "2024-10-27", "*/30 2 * * *", ["02:00+0200", "02:30+0200"]),
        ("America/New_York", "2024-11-03", "30 1 * * *", ["01:30-0400"]),
        ("Australia/Lord_Howe", "2024-04-07", "45 1 * * *", ["01:45+1100"]),
        ("America/Sao_Paulo", "2018-02-17", "30 23 * * *", ["23:30-0200"]),
        ("Antarctica/Troll", "2024-10-27", "30 2 * * *", ["02:30+0200"]),
    ],
)
def test_a_local_time_that_exists_twice_occurs_once_the_first_time(
    zone: str, day: str, line: str, expected: list[str]
) -> None:
    assert occurrences(line, zone, f"{day}T00:00", f"{day}T23:59") == [f"{day}T{time}" for time in expected]


def test_a_line_for_every_hour_follows_elapsed_time() -> None:
    spring = occurrences("*/30 * * * *", "Europe/Berlin", "2024-03-31T01:00", "2024-03-31T03:30")
    assert [occurrence[11:] for occurrence in spring] == ["01:00+0100", "01:30+0100", "03:00+0200", "03:30+0200"]
    autumn = occurrences("30 * * * *", "Europe/Berlin", "2024-10-27T01:00", "2024-10-27T03:30")
    assert [occurrence[11:] for occurrence in autumn] == ["01:30+0200", "02:30+0200", "02:30+0100", "03:30+0100"]


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.parametrize("line", ["* * * * *", "*/15 * * * *", "45 * * * *", "10,40 0-23 * * *", "0 */1 * * *"])
def test_a_line_for_every_hour_occurs_at_every_matching_local_minute(zone: str, day: str, line: str) -> None:
    place = ZoneInfo(zone)
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    minutes = CronSim(line, start).minutes
    every = (start + n * MINUTE for n in range(1, 3 * 24 * 60))
    expected = [moment for moment in every if moment.astimezone(place).minute in minutes]
    assert list(islice(Cron(line, place).after(start), len(expected))) == expected


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.parametrize("line", ["30 2 * * *", "15,45 1,2 * * *", "@daily", "*/20 1-4 * * *", "30 */2 * * *"])
def test_the_start_of_the_search_does_not_change_the_occurrences(zone: str, day: str, line: str) -> None:
    cron = Cron(line, ZoneInfo(zone))
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    end = start + timedelta(days=3)
    whole = list(takewhile(lambda occurrence: occurrence < end, cron.after(start)))
    for hours in range(48):
        later = start + timedelta(hours=hours, minutes=7, seconds=11)
        rest = list(takewhile(lambda occurrence: occurrence < end, cron.after(later)))
        assert rest == [occurrence for occurrence in whole if occurrence > later]


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"])
def test_a_nightly_line_occurs_every_night_of_thirty_years(name: str) -> None:
    place = ZoneInfo(name)
    start = datetime(1995, 1, 1, tzinfo=UTC)
    nights = [
        occurrence.astimezone(place).date() for occurrence in islice(Cron("30 2 * * *", place).after(start), 30 * 365)
    ]
    assert [(after - before).days for before, after in pairwise(nights)] == [1] * (30 * 365 - 1)


def test_leap_days_and_month_ends() -> None:
    def first_of(line: str, count: int) -> list[str]:
        found = Cron(line, zone("UTC")).after(datetime(2023, 12, 31, 23, 59, tzinfo=UTC))
        return [f"{occurrence:%Y-%m-%d}" for occurrence in islice(found, count)]

    assert first_of("0 0 29 2 *", 3) == ["2024-02-29", "2028-02-29", "2032-02-29"]
    assert first_of("0 0 31 * *", 4) == ["2024-01-31", "2024-03-31", "2024-05-31", "2024-07-31"]
    assert first_of("0 0 L * *", 3) == ["2024-01-31", "2024-02-29", "2024-03-31"]
    assert first_of("0 0 * * mon#1", 2) == ["2024-01-01", "2024-02-05"]
    assert first_of("0 0 13 * 5", 3) == ["2024-01-05", "2024-01-12", "2024-01-13"]
    assert first_of("* * 29 2 *", 1) == ["2024-02-29"]


def test_a_day_that_a_time_zone_skipped() -> None:
    assert occurrences("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", "2011-12-31T23:00") == [
        "2011-12-29T12:00-1000",
        "2011-12-31T00:00+1400",
        "2011-12-31T12:00+1400",
    ]


@pytest.mark.parametrize("macro", MACROS)
def test_macros_are_equal_to_their_lines(macro: str) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    found, expected = (list(islice(Cron(line, zone("UTC")).after(start), 3)) for line in (macro, MACROS[macro]))
    assert found == expected


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("60 * * * *", "is no minute"),
        ("* 24 * * *", "is no hour"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@reboot", "the macros are"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("0 0 * * 1#6", "is no day of week"),
        ("*/0 * * * *", "is no step"),
        ("* * */20 * 1L", "has none"),
        ("", "five fields"),
        ("1," * 500 + "1 * * * *", "five fields"),
    ],
)
def test_an_invalid_cron_line_is_refused_with_the_reason(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Cron(line, zone("UTC"))


@pytest.mark.parametrize("name", ["Berlin", "", "../etc/passwd", "/etc/localtime", "Europe", "UTC+1", "a\0b"])
def test_an_invalid_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="IANA time zone"):
        zone(name)
