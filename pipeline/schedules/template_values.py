"""The placeholders that a schedule replaces in its manifest: `{date}`, `{time}`, `{schedule}`. Pure.

They are replaced in `name`, `output` and prompts after the YAML is parsed, so a value cannot become YAML. Other braces
stay as they are; `{{date}}` becomes the text `{date}`.
"""

from __future__ import annotations

import re
from datetime import datetime

from pipeline.manifest.template import Fill
from pipeline.schedules.schedule import Schedule

_PLACEHOLDER = re.compile(r"\{\{(date|time|schedule)\}\}|\{(date|time|schedule)\}")


def template_values(schedule: Schedule, moment: datetime) -> Fill:
    """Return a function that fills in an occurrence in the schedule's own zone: `2026-07-27`, `0200`."""
    local = moment.astimezone(schedule.zone)
    values = {"date": f"{local:%Y-%m-%d}", "time": f"{local:%H%M}", "schedule": schedule.name}

    def fill(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: f"{{{match[1]}}}" if match[1] else values[match[2]], text)

    return fill
