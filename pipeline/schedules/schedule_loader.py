"""The schedules that are in force: those of the file, or, while it is broken, those of the last good one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pipeline.errors import InvalidSchedules, NoSuchSchedule
from pipeline.schedules.schedule import Schedule, parse
from pipeline.schedules.store import ScheduleStore

log = structlog.get_logger()


@dataclass(frozen=True)
class LoadedSchedules:
    """The schedules, and what is wrong with the file if they are not its own."""

    schedules: tuple[Schedule, ...]
    trouble: str | None = None
    text: str | None = None
    """What the file says, if that is in force."""
    written: datetime | None = None
    """When the file was last written."""

    def named(self, name: str) -> Schedule:
        """The schedule of this name. Raises NoSuchSchedule."""
        for schedule in self.schedules:
            if schedule.name == name:
                return schedule
        raise NoSuchSchedule(name)


def load_schedules(file: Path, states: ScheduleStore) -> LoadedSchedules:
    """The schedules that are in force. Without a file, and none before it, there are none."""
    try:
        text = file.read_bytes()
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return LoadedSchedules(parse(text, file=str(file)), text=text.decode(), written=written)
    except FileNotFoundError:
        last = _last_good(file, states)
        return LoadedSchedules(last, f"{file} is not there: `schedules: []` in it would be none." if last else None)
    except OSError as error:
        return LoadedSchedules(_last_good(file, states), f"{file} cannot be read: {error.strerror}.")
    except InvalidSchedules as error:
        return LoadedSchedules(_last_good(file, states), str(error))


def use_schedules(file: Path, states: ScheduleStore) -> LoadedSchedules:
    """As `in_force`, and the ledger is told: a good file is kept, trouble is reported, each once."""
    found = load_schedules(file, states)
    known = states.file()
    if found.text is not None and (found.text != known.text or known.error):
        states.record_valid_file(found.text)
        log.info("schedules_read", file=str(file), schedules=[schedule.name for schedule in found.schedules])
    elif found.trouble and found.trouble != known.error:
        states.record_file_error(found.trouble)
        log.error("schedules_not_read", file=str(file), kept=len(found.schedules), error=found.trouble)
    return found


def _last_good(file: Path, states: ScheduleStore) -> tuple[Schedule, ...]:
    text = states.file().text
    if text is None:
        return ()
    try:
        return parse(text.encode(), file=str(file))
    except InvalidSchedules as error:
        # An older version of this program took it.
        log.error("schedules_not_kept", file=str(file), error=str(error))
        return ()
