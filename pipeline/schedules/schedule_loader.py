"""The schedules in use: those of the file or, while the file is invalid, those of its last valid version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pipeline.domain.suggestions import hint
from pipeline.errors import InvalidSchedules, NoSuchSchedule
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.schema import parse_schedules
from pipeline.schedules.store import ScheduleStore

log = structlog.get_logger()


@dataclass(frozen=True)
class LoadedSchedules:
    """The schedules in use. `file_error`: why they are not those of the file."""

    schedules: tuple[Schedule, ...]
    file_error: str | None = None
    text: str | None = None
    """The text of the file, if it is valid."""
    written: datetime | None = None
    """When the file was last written."""

    def named(self, name: str) -> Schedule:
        """Return the schedule of this name. Raises NoSuchSchedule."""
        for schedule in self.schedules:
            if schedule.name == name:
                return schedule
        raise NoSuchSchedule(name, hint(name, [schedule.name for schedule in self.schedules]))


def load_schedules(file: Path, store: ScheduleStore) -> LoadedSchedules:
    """Return the schedules in use: none if there is no file and no valid version of it before."""
    try:
        text = file.read_bytes()
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return LoadedSchedules(parse_schedules(text, file=str(file)), text=text.decode(), written=written)
    except FileNotFoundError:
        last = _last_valid(file, store)
        message = f"{file} does not exist. Create it; for no schedules write `schedules: []`."
        return LoadedSchedules(last, message if last else None)
    except OSError as error:
        return LoadedSchedules(_last_valid(file, store), f"{file} cannot be read: {error.strerror}.")
    except InvalidSchedules as error:
        return LoadedSchedules(_last_valid(file, store), str(error))


def use_schedules(file: Path, store: ScheduleStore) -> LoadedSchedules:
    """Return the schedules in use. Store a valid file, or the error of an invalid one, and log it once."""
    loaded = load_schedules(file, store)
    stored = store.file()
    if loaded.text is not None and (loaded.text != stored.text or stored.error):
        store.record_valid_file(loaded.text)
        log.info("schedules_loaded", file=str(file), schedules=[schedule.name for schedule in loaded.schedules])
    elif loaded.file_error and loaded.file_error != stored.error:
        store.record_file_error(loaded.file_error)
        log.error("schedules_load_failed", file=str(file), in_use=len(loaded.schedules), error=loaded.file_error)
    return loaded


def _last_valid(file: Path, store: ScheduleStore) -> tuple[Schedule, ...]:
    text = store.file().text
    if text is None:
        return ()
    try:
        return parse_schedules(text.encode(), file=str(file))
    except InvalidSchedules as error:
        # An older version of this program accepted it.
        log.error("stored_schedules_invalid", file=str(file), error=str(error))
        return ()
