"""What a schedule fills into its manifest: `{date}`, `{time}`, `{schedule}` in `name`, `output` and prompts. Pure.

Only these three are replaced, in values that were parsed already, so nothing that is filled in can become YAML. Any
other brace stays as it is; `{{date}}` stands for the text `{date}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from pipeline.schedules.schedule import Schedule

_PLACE = re.compile(r"\{\{(date|time|schedule)\}\}|\{(date|time|schedule)\}")


def template_values(schedule: Schedule, occurrence: datetime) -> Callable[[str], str]:
    """Fills in a tick as the clock in the schedule's own zone shows it: `2026-07-27`, `0200`."""
    local = occurrence.astimezone(schedule.zone)
    values = {"date": f"{local:%Y-%m-%d}", "time": f"{local:%H%M}", "schedule": schedule.name}

    def fill(text: str) -> str:
        return _PLACE.sub(lambda found: f"{{{found[1]}}}" if found[1] else values[found[2]], text)

    return fill
