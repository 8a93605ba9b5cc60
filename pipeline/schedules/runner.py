"""Makes the batches of one schedule's ticks, under a claim: one at a time, whoever else runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import structlog

from pipeline.batches.service import Service
from pipeline.batches.submission import Accepted
from pipeline.errors import DailiesError, StorageError, SubmissionInterrupted, Unreachable
from pipeline.manifest import source
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.schedules.occurrences import Action, Occurrence, batch_id, occurrence_text, overlap_decision
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.store import Did, Record, ScheduleStore
from pipeline.schedules.template_values import template_values

log = structlog.get_logger()

MAX_STARTS = 20
"""After so many batches other schedules have their turn."""
MAX_ATTEMPTS = 10
"""A batch that cannot be made for now is tried so often, for about an hour."""
_FIRST_RETRY_S = 30
_MAX_RETRY_S = 600
_MAX_WHY = 2000


@dataclass(frozen=True)
class ScheduleRunner:
    """The hand that starts what waits of `schedule` at `now`. `folder` is where the schedules file lies."""

    service: Service
    states: ScheduleStore
    schedule: Schedule
    folder: Path
    now: datetime
    lease: str = field(default_factory=lambda: uuid4().hex)

    def work(self) -> bool:
        """See to the ticks whose time has come. True when there is more to do at once."""
        if not self._claim():
            return False
        starts = 0
        ahead = False
        row = self.states.read(self.schedule.name)
        for occurrence in (occurrence for occurrence in row.waiting if occurrence.start_at <= self.now):
            if row.paused or not self.schedule.enabled:
                self._skip(occurrence, "The schedule was paused." if row.paused else "The schedule was not enabled.")
                continue
            running = [other for other in self.states.running(self.schedule.name) if other != self._id_of(occurrence)]
            found = overlap_decision(self.schedule, occurrence, running=running[0] if running else None, ahead=ahead)
            if found.do is Action.WAIT:
                ahead = ahead or not occurrence.caught_up
            elif found.do is Action.SKIP:
                self._skip(occurrence, found.why)
            elif starts == MAX_STARTS or not self._claim():
                break
            else:
                starts += 1
                self._start(occurrence, row.attempts.get(occurrence.moment, 0))
        self.states.release(self.schedule.name, self.lease)
        return starts == MAX_STARTS

    def _claim(self) -> bool:
        return self.states.claim(self.schedule.name, self.lease, lease_s=self.service.settings.lease_s)

    def _id_of(self, occurrence: Occurrence) -> str:
        return batch_id(self.schedule, occurrence.moment)

    def _start(self, occurrence: Occurrence, tries: int) -> None:
        try:
            accepted = submit(self.service, self.schedule, self.folder, self._id_of(occurrence), occurrence.moment)
        except Unreachable:
            raise
        except Exception as error:
            self._failed(occurrence, tries + 1, error)
        else:
            self._settle(occurrence, Record(Did.STARTED, self.now, occurrence.moment, batch=accepted.batch_id))

    def _failed(self, occurrence: Occurrence, tries: int, error: Exception) -> None:
        why = str(error) if isinstance(error, DailiesError) else f"{type(error).__name__}: {error}"
        told = {
            "schedule": self.schedule.name,
            "tick": occurrence_text(occurrence.moment),
            "error": why,
            "tries": tries,
        }
        if _may_pass(error) and tries < MAX_ATTEMPTS:
            log.warning("schedule_not_started_yet", **told, exc_info=not isinstance(error, DailiesError))
            delay = min(_FIRST_RETRY_S * 2 ** (tries - 1), _MAX_RETRY_S)
            self.states.defer(self.schedule.name, self.lease, occurrence, self.now + timedelta(seconds=delay))
        else:
            log.error("schedule_not_started", **told)
            self._settle(occurrence, Record(Did.FAILED, self.now, occurrence.moment, why=why[:_MAX_WHY]))

    def _skip(self, occurrence: Occurrence, why: str) -> None:
        self._settle(occurrence, Record(Did.SKIPPED, self.now, occurrence.moment, why=why))

    def _settle(self, occurrence: Occurrence, record: Record) -> None:
        if self.states.complete(self.schedule.name, self.lease, occurrence, record):
            what = {"schedule": self.schedule.name, "tick": occurrence_text(occurrence.moment)}
            log.info(f"schedule_{record.did}", **what, batch=record.batch, why=record.why)


def submit(service: Service, schedule: Schedule, folder: Path, wanted_id: str, moment: datetime) -> Accepted:
    """Make a batch of a schedule's manifest as it is now, with `moment` filled in. The same id is the same batch.

    Raises CannotRead, InvalidManifest, SubmissionCutOff, and as `Service.submit` does.
    """
    given = read_manifest(service, schedule, folder, moment)
    accepted = service.submission.submit(
        given.manifest, wanted_id, trigger=f"schedule:{schedule.name}", folder=given.folder
    )
    if not service.ledger.batches.is_accepted(wanted_id):
        raise SubmissionInterrupted(wanted_id)
    return accepted


def read_manifest(service: Service, schedule: Schedule, folder: Path, moment: datetime) -> source.ManifestSource:
    """A schedule's manifest as it is now, with `moment` filled in. Raises CannotRead, InvalidManifest, StorageError."""
    fill = template_values(schedule, moment)
    if not schedule.manifest.startswith("s3://"):
        return source.read(str(folder / schedule.manifest), lambda: service.storage, fill=fill)
    text = source.read_object(schedule.manifest, service.storage)
    manifest = UntrustedManifests(service.settings, service.storage).read(text, file=schedule.manifest, fill=fill)
    return source.ManifestSource(manifest, None)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, StorageError):
        return error.retryable
    return isinstance(error, SubmissionInterrupted) or not isinstance(error, DailiesError | OSError)
