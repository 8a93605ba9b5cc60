"""A schedule through the commands and a service that runs: by hand, and a tick that waited."""

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


def test_a_batch_by_hand_ends_and_the_tick_that_waited_for_it_starts(up: Up, tmp_path: Path) -> None:
    shutil.copy(ROOT / "config/samples/portrait.jpg", tmp_path / "face.jpg")
    (tmp_path / "m.yaml").write_text(MANIFEST)
    (tmp_path / "schedules.yaml").write_text(
        'schedules:\n- {name: yearly, cron: "@yearly", manifest: m.yaml, overlap: queue}\n'
    )
    states = ScheduleStore.connect(up.environment["REDIS_URL"])
    first = up.run("schedules", "run", "yearly").splitlines()[-1]
    waits = Occurrence(states.now() - timedelta(minutes=1), states.now())
    states.record_occurrences("yearly", None, states.now(), [waits], None)
    until(lambda: up.status(first)["status"] == "succeeded", "the batch by hand")
    second = f"yearly-{occurrence_text(waits.moment)}"
    ledger = Ledger.connect(up.environment["REDIS_URL"])
    until(lambda: second in {row.id for row in ledger.queries.recent_batches()}, "the tick that waited", timeout_s=70)
    until(lambda: up.status(second)["status"] == "succeeded", "its batch")
    assert f"{second}  succeeded" in up.run("schedules")
