"""Cron lines that are refused, with what to write in their place."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from pipeline.errors import InvalidSchedules
from pipeline.schedules.cron_expression import Cron, zone
from pipeline.schedules.schema import parse_schedules

START = datetime(2024, 1, 1, tzinfo=UTC)


def refusal(line: str) -> str:
    """Return why a line is refused."""
    with pytest.raises(ValueError, match="must be a cron line") as caught:
        Cron(line, zone("UTC"))
    return str(caught.value)


@pytest.mark.parametrize("minutes", [72, 80, 90, 96, 120, 144, 160, 180, 240, 288, 360, 480, 720, 1440])
def test_the_lines_that_are_advised_for_a_step_above_an_hour_run_that_often(minutes: int) -> None:
    lines = re.findall(r'"(.*?)"', refusal(f"*/{minutes} * * * *"))
    times = sorted(time for line in lines for time in islice(Cron(line, zone("UTC")).after(START), 50))
    assert times[:50] == [START + number * timedelta(minutes=minutes) for number in range(1, 51)]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("*/61 * * * *", "the step 61 of the minute is larger than the 60 values 0 to 59"),
        ("*/100 * * * *", "write a step of at most 60, or 0 for once"),
        ("0/90 * * * *", 'write "0 */3 * * *" and "30 1-23/3 * * *", a schedule each'),
        ("5,*/90 * * * *", 'write "0 */3 * * *"'),
        ("0-10/20 * * * *", "larger than the 11 values 0 to 10: write a step of at most 11"),
        ("55/10 * * * *", "larger than the 5 values 55 to 59"),
        ("0 */25 * * *", "write a step of at most 24, or 0 for once"),
        ("0 */48 * * *", 'for every 48 hours write "0 0 */2 * *"'),
        ("0 0 */32 * *", "the step 32 of the day of month is larger than the 31 values 1 to 31"),
        ("0 0 1 */13 *", "the step 13 of the month is larger than the 12 values"),
        ("0 0 * * */8", "write a step of at most 7"),
        ("0 0 * * mon-fri/6", "larger than the 5 values 1 to 5"),
        ("*/0 * * * *", "write a number from 1 to 60"),
        ("*/-5 * * * *", "write a number from 1 to 60"),
        ("*/ * * * *", "write a number from 1 to 60"),
        ("50-10 * * * *", "the range 50-10 runs backwards: write 50-59,0-10"),
        ("0 22-2 * * *", "the range 22-2 runs backwards: write 22-23,0-2"),
        ("0 0 * * fri-mon", "the range fri-mon runs backwards: write fri-6,0-mon"),
        ("0 0 15W * *", "'15w' is no day of month: write 1 to 31, L (the last day), LW (the last weekday)"),
        ("0 0 ? * *", "'?' is no day of month: write 1 to 31"),
        ("0 0 * * friL", "write 0 to 7, sun to sat, 5L (the last Friday), 1#2 (the second Monday), or * for any"),
        ("0 0 * * 1#6", "'1#6' is no day of week"),
        ("0 0 * * monday", "sun to sat"),
        ("0 0 * january *", "'january' is no month: write 1 to 12, jan to dec, or * for any"),
        ("H * * * *", "'h' is no minute: write 0 to 59, or * for any"),
        ("0 24 * * *", "'24' is no hour: write 0 to 23, or * for any"),
        ("1,,2 * * * *", "'' is no minute"),
        ("\u0663 * * * *", "is no minute"),
    ],
)
def test_a_misleading_field_is_refused_with_what_to_write(line: str, advice: str) -> None:
    assert advice in refusal(line)


@pytest.mark.parametrize(
    "line",
    [
        "*/60 */24 */31 */12 */7",
        "*/7 * * * *",
        "0-10/11 * * * *",
        "0 22-23,0-2 * * *",
        "0 0 * * fri-6,0-mon",
        "0 0 L,1 * *",
        "0 0 LW * *",
        "0 0 * * 5L",
        "0 0 * * MON#2,3",
        "0 0 * jan-Mar/2 5-7",
        "05 07 * * *",
    ],
)
def test_other_lines_are_valid(line: str) -> None:
    assert next(Cron(line, zone("UTC")).after(START)) > START


def test_the_advice_is_at_the_line_of_the_file() -> None:
    text = b'schedules:\n  - name: often\n    cron: "*/90 * * * *"\n    manifest: a.yaml\n'
    with pytest.raises(InvalidSchedules) as caught:
        parse_schedules(text, file="schedules.yaml")
    (problem,) = str(caught.value).splitlines()
    assert problem.startswith("schedules.yaml:3:11: cron must be a cron line, not '*/90 * * * *': the step 90")
    assert 'write "0 */3 * * *" and "30 1-23/3 * * *"' in problem
