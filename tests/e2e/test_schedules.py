"""A schedule through the commands and a running service: a manual run, and a waiting occurrence."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from support.processes import ROOT, Up, until

from pipeline.ledger.ledger import Ledger
from pipeline.schedules.occurrences import Occurrence, occurrence_text
from pipeline.schedules.store import ScheduleStore

MANIFEST = (
    'version: 1\nname: "of-{date}"\nmatrix: {images: [face.jpg], prompts: ["{schedule} once", "{schedule} twice"]}\n'
)


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**environment, "PIPELINE_SCHEDULES": str(tmp_path / "schedules.yaml")}


def test_a_manual_batch_ends_and_the_waiting_occurrence_starts(up: Up, tmp_path: Path) -> None:
    shutil.copy(ROOT / "config/samples/portrait.jpg", tmp_path / "face.jpg")
    (tmp_path / "m.yaml").write_text(MANIFEST)
    (tmp_path / "schedules.yaml").write_text(
        'schedules:\n- {name: yearly, cron: "@yearly", manifest: m.yaml, overlap: queue}\n'
    )
    store = ScheduleStore.connect(up.environment["REDIS_URL"])
    first = up.run("schedules", "run", "yearly").splitlines()[-1]
    waiting = Occurrence(store.now() - timedelta(minutes=1), store.now())

    def record() -> bool:
        """Record the occurrence, unless the cron process evaluates the schedule at this moment."""
        return store.record_occurrences("yearly", store.read("yearly").seen, store.now(), [waiting], None)

    until(record, "the occurrence to wait")
    until(lambda: up.status(first)["status"] == "succeeded", "the manual batch")
    second = f"yearly-{occurrence_text(waiting.moment)}"
    ledger = Ledger.connect(up.environment["REDIS_URL"])
    until(lambda: second in {row.id for row in ledger.queries.recent_batches()}, "the waiting occurrence")
    until(lambda: up.status(second)["status"] == "succeeded", "its batch")
    assert f"{second}  succeeded" in up.run("schedules")
