"""A folder with a schedules file and a manifest, and the servers of a test."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.batches.service import Service
from pipeline.domain.states import BatchState
from pipeline.schedules.scheduler import Scheduler
from pipeline.schedules.store import Record, ScheduleStore
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage

MANIFEST = (
    'version: 1\nname: night-{date}\nitems:\n- {image: "https://example.com/1.jpg", prompt: "{schedule} {time}"}\n'
)
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MIDNIGHT = at("2026-07-27T00:00:00")
BEFORE = MIDNIGHT - timedelta(seconds=30)


class ScheduleFolder:
    """A folder with a schedules file and a manifest, and the servers of a test."""

    def __init__(self, folder: Path, settings: Settings, storage: Storage) -> None:
        self.folder = folder
        self.settings = settings
        self.file = settings.schedules
        self.service = Service.connect(settings, storage=storage)
        self.store = ScheduleStore.connect(settings.redis_url)
        self.write("m.yaml", MANIFEST)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def schedules(self, *entries: str) -> None:
        lines = [f"- {{{entry}}}" for entry in entries]
        self.file.write_text("\n".join(["schedules:", *lines, ""]) if lines else "schedules: []\n")
        os.utime(self.file, (BEFORE.timestamp(), BEFORE.timestamp()))

    def nightly(self, more: str = "") -> None:
        self.schedules(f'name: nightly, cron: "0 0 * * *", manifest: m.yaml{more}')

    def often(self, more: str = "") -> None:
        self.schedules(f'name: often, cron: "* * * * *", manifest: m.yaml{more}')

    def scheduler(self) -> Scheduler:
        """Return a scheduler as another process has it; only the S3 client is shared, because it is slow to create."""
        return Scheduler.of(Service.connect(self.settings, storage=self.service.storage))

    def batches(self) -> list[str]:
        return sorted(row.id for row in self.service.ledger.queries.recent_batches(1000))

    def records(self, name: str = "nightly") -> list[Record]:
        return list(self.store.read(name).records)

    def end(self, batch_id: str) -> None:
        self.service.ledger.batches.set_status(batch_id, BatchState.SUCCEEDED, among=[BatchState.QUEUED])
