"""A schedule's manifest becomes a batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.service import Service
from pipeline.batches.submission import Accepted, Submission
from pipeline.manifest.loader import LoadedManifest, load_manifest, read_object
from pipeline.manifest.model_check import SchemaOf
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.template_values import template_values
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage


@dataclass(frozen=True)
class ScheduleSubmission:
    """Submits the manifests of schedules."""

    settings: Settings
    storage: Storage
    models: ModelCatalog
    submission: Submission

    @classmethod
    def of(cls, service: Service) -> ScheduleSubmission:
        """Return the submission on the servers of `service`."""
        return cls(service.settings, service.storage, service.models, service.submission)

    def submit(self, schedule: Schedule, batch_id: str, moment: datetime) -> Accepted:
        """Submit the schedule's manifest as it is now, with `moment` filled in. The same id is the same batch.

        Raises CannotRead, InvalidManifest, and what `Submission.submit` raises.
        """
        loaded = read_manifest(self.settings, self.storage, schedule, moment, self.models.for_checks())
        trigger = f"schedule:{schedule.name}"
        return self.submission.submit(loaded.manifest, batch_id, trigger=trigger, folder=loaded.folder)


def read_manifest(
    settings: Settings, storage: Storage, schedule: Schedule, moment: datetime, schema_of: SchemaOf | None = None
) -> LoadedManifest:
    """Return a schedule's manifest as it is now, with `moment` filled in. `schema_of`: returns the schema of its model.

    Raises CannotRead, InvalidManifest, StorageError.
    """
    fill = template_values(schedule, moment)
    if not schedule.manifest.startswith("s3://"):
        file = str(settings.schedules.parent / schedule.manifest)
        loaded = load_manifest(file, lambda: storage, fill=fill, schema_of=schema_of)
        loaded.check_notify(settings.notify_hosts)
        return loaded
    text = read_object(schedule.manifest, storage)
    manifest = UntrustedManifests(settings, storage, schema_of).read(text, file=schedule.manifest, fill=fill)
    return LoadedManifest(manifest, None)
