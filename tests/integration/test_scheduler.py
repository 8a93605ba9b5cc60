"""Schedules on a real Redis and a real S3 server: races, crashes, edits and failures. The time is an argument."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from support.schedule_folder import BEFORE, MANIFEST, MIDNIGHT, MINUTE, ScheduleFolder, at
from support.waiting import WaitFor

from pipeline.batches.service import Service
from pipeline.errors import NoSuchSchedule
from pipeline.schedules.runner import MAX_ATTEMPTS
from pipeline.schedules.schedule_loader import load_schedules
from pipeline.schedules.scheduler import Scheduler
from pipeline.schedules.store import MAX_RECORDS, Did, Record
from pipeline.schedules.submission import ScheduleSubmission
from pipeline.schedules.summary import document, summary


def test_an_occurrence_starts_one_batch_however_many_schedulers_race(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", overlap: allow")
    schedulers = [schedule_folder.scheduler() for _ in range(8)]
    schedulers[0].start_due(BEFORE)
    with ThreadPoolExecutor(8) as pool:
        for minute in range(3):
            now = MIDNIGHT + minute * MINUTE
            list(pool.map(lambda scheduler, now=now: scheduler.start_due(now), schedulers))
    for scheduler in schedulers:
        scheduler.start_due(MIDNIGHT + 2 * MINUTE)
    assert schedule_folder.batches() == ["often-20260727T0000Z", "often-20260727T0001Z", "often-20260727T0002Z"]
    assert [record.did for record in schedule_folder.records("often")] == [Did.STARTED] * 3


def test_the_batch_is_the_manifest_with_the_occurrence_filled_in(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly(", timezone: Asia/Tokyo")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(at("2026-07-26T14:59:00"))
    scheduler.start_due(at("2026-07-26T15:00:05"))
    (batch_id,) = schedule_folder.batches()
    row = schedule_folder.service.ledger.batches.get(batch_id)
    assert (row.id, row.name, row.trigger) == ("nightly-20260726T1500Z", "night-2026-07-27", "schedule:nightly")
    assert [item.prompt for item in schedule_folder.service.ledger.items.stream(batch_id)] == ["nightly 0000"]


def test_the_manifest_is_read_again_at_every_run(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", overlap: allow")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    schedule_folder.write("m.yaml", MANIFEST.replace("night-", "changed-"))
    scheduler.start_due(MIDNIGHT + MINUTE)
    names = {row.id: row.name for row in schedule_folder.service.ledger.queries.recent_batches()}
    assert names == {"often-20260727T0000Z": "night-2026-07-27", "often-20260727T0001Z": "changed-2026-07-27"}


def test_a_manifest_on_s3_names_only_allowed_buckets(schedule_folder: ScheduleFolder, bucket: str) -> None:
    schedule_folder.schedules(
        f'name: good, cron: "0 0 * * *", manifest: {bucket}good.yaml',
        f'name: strange, cron: "0 0 * * *", manifest: {bucket}strange.yaml',
        f'name: absent, cron: "0 0 * * *", manifest: {bucket}absent.yaml',
    )
    scheduler = schedule_folder.scheduler()
    schedule_folder.service.storage.put(f"{bucket}good.yaml", MANIFEST.encode(), "application/yaml")
    strange = MANIFEST.replace("https://example.com", "s3://elsewhere").encode()
    schedule_folder.service.storage.put(f"{bucket}strange.yaml", strange, "application/yaml")
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    assert schedule_folder.batches() == ["good-20260727T0000Z"]
    assert "elsewhere" in str(schedule_folder.records("strange")[0].why)
    assert schedule_folder.records("absent")[0].why == f"There is no object {bucket}absent.yaml."


def test_an_image_file_of_the_manifest_is_uploaded(schedule_folder: ScheduleFolder) -> None:
    sample = Path(__file__).parents[2] / "config/samples/portrait.jpg"
    (schedule_folder.folder / "face.jpg").write_bytes(sample.read_bytes())
    schedule_folder.write("m.yaml", MANIFEST.replace("https://example.com/1.jpg", "face.jpg"))
    schedule_folder.nightly()
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    (item,) = schedule_folder.service.ledger.items.stream("nightly-20260727T0000Z")
    assert item.image
    assert schedule_folder.service.storage.get(item.image) == sample.read_bytes()


CRASHES_ON_SUBMIT = """
import os, sys
from datetime import datetime
from pathlib import Path
from pipeline.batches.service import Service
from pipeline.batches.submission import Submission
from pipeline.settings import Settings
from pipeline.schedules.schedule_loader import load_schedules
from pipeline.schedules.scheduler import Scheduler

redis_url, endpoint, output, schedules, when, now = sys.argv[1:]
settings = Settings(redis_url=redis_url, s3_endpoint=endpoint, output=output, schedules=Path(schedules), lease_s=0.5)
submit = Submission.submit

def crash(self, *args, **options):
    if when == "after":
        submit(self, *args, **options)
    os._exit(9)

Submission.submit = crash
Scheduler.of(Service.connect(settings)).start_due(datetime.fromisoformat(now))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_scheduler_crash_while_a_batch_starts_loses_no_occurrence(
    schedule_folder: ScheduleFolder, wait_for: WaitFor, when: str
) -> None:
    schedule_folder.nightly()
    schedule_folder.scheduler().start_due(BEFORE)
    settings = schedule_folder.settings
    servers = (settings.redis_url, str(settings.s3_endpoint), str(settings.output))
    crashed = subprocess.run(
        [sys.executable, "-c", CRASHES_ON_SUBMIT, *servers, str(schedule_folder.file), when, MIDNIGHT.isoformat()],
        timeout=300,
        check=False,
    )
    assert crashed.returncode == 9
    assert schedule_folder.records() == []

    def recovered() -> bool:
        schedule_folder.scheduler().start_due(MIDNIGHT + MINUTE)
        return bool(schedule_folder.records())

    wait_for(recovered, "the lease of the crashed process to expire")
    assert schedule_folder.batches() == ["nightly-20260727T0000Z"]
    assert [record.did for record in schedule_folder.records()] == [Did.STARTED]
    assert schedule_folder.service.ledger.batches.is_accepted("nightly-20260727T0000Z")


def test_a_lease_excludes_other_schedulers_until_it_expires(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly()
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    assert schedule_folder.store.claim("nightly", "another", lease_s=60)
    scheduler.start_due(MIDNIGHT)
    assert schedule_folder.batches() == []
    schedule_folder.store.release("nightly", "another")
    scheduler.start_due(MIDNIGHT + MINUTE)
    assert schedule_folder.batches() == ["nightly-20260727T0000Z"]


def test_writes_under_an_expired_lease_are_refused(schedule_folder: ScheduleFolder, wait_for: WaitFor) -> None:
    schedule_folder.nightly()
    schedule_folder.scheduler().start_due(BEFORE)
    schedule_folder.store.claim("nightly", "slow", lease_s=60)
    schedule_folder.scheduler().start_due(MIDNIGHT)
    occurrence = schedule_folder.store.read("nightly").waiting[0]
    schedule_folder.store.claim("nightly", "slow", lease_s=0.001)
    wait_for(lambda: schedule_folder.store.claim("nightly", "quick", lease_s=60), "the lease of the slow one to expire")
    record = Record(Did.SKIPPED, MIDNIGHT, occurrence.moment, why="slow")
    assert not schedule_folder.store.complete("nightly", "slow", occurrence, record)
    assert schedule_folder.store.defer("nightly", "slow", occurrence, MIDNIGHT) == 0
    assert schedule_folder.store.complete("nightly", "quick", occurrence, record)


def test_an_interrupted_submission_of_a_schedule_is_completed(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly()
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    schedule = load_schedules(schedule_folder.file, schedule_folder.store).named("nightly")
    ScheduleSubmission.of(schedule_folder.service).submit(schedule, "nightly-20260727T0000Z", MIDNIGHT)
    scheduler.start_due(MIDNIGHT)
    assert schedule_folder.batches() == ["nightly-20260727T0000Z"]
    assert [record.batch for record in schedule_folder.records()] == ["nightly-20260727T0000Z"]


def test_an_occurrence_whose_batch_redis_lost_is_not_started_again(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly()
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    Redis.from_url(schedule_folder.settings.redis_url).flushall()
    schedule_folder.scheduler().start_due(MIDNIGHT + timedelta(seconds=20))
    assert schedule_folder.batches() == []
    (record,) = schedule_folder.records()
    assert (record.did, record.occurrence) == (Did.FAILED, MIDNIGHT)
    assert "dailies recover" in str(record.why)


def test_an_invalid_edit_keeps_the_last_valid_file_also_after_a_restart(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", overlap: allow")
    schedule_folder.scheduler().start_due(BEFORE)
    schedule_folder.file.write_text("schedules: [{name: often, cron: often}]\n")
    schedule_folder.scheduler().start_due(MIDNIGHT)
    schedule_folder.file.unlink()
    schedule_folder.scheduler().start_due(MIDNIGHT + MINUTE)
    assert len(schedule_folder.batches()) == 2
    assert "does not exist" in str(schedule_folder.store.file().error)
    schedule_folder.file.write_text("")
    schedule_folder.scheduler().start_due(MIDNIGHT + 2 * MINUTE)
    assert len(schedule_folder.batches()) == 3
    found = summary(schedule_folder.file, schedule_folder.store, schedule_folder.service.ledger.batches, MIDNIGHT)
    assert ":1:1: " in str(found.file_error)
    assert [view.schedule.name for view in found.schedules] == ["often"]
    schedule_folder.schedules()
    schedule_folder.scheduler().start_due(MIDNIGHT + 3 * MINUTE)
    assert len(schedule_folder.batches()) == 3
    assert schedule_folder.store.file().error is None


def test_an_edit_takes_effect_without_a_restart(schedule_folder: ScheduleFolder) -> None:
    scheduler = schedule_folder.scheduler()
    assert scheduler.start_due(BEFORE) is None
    schedule_folder.nightly()
    assert scheduler.start_due(BEFORE) == MIDNIGHT
    scheduler.start_due(MIDNIGHT)
    assert schedule_folder.batches() == ["nightly-20260727T0000Z"]


def test_a_paused_schedule_skips_until_it_is_resumed(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", overlap: allow")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.pause("often", BEFORE)
    for minute in range(3):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert schedule_folder.batches() == []
    (record,) = schedule_folder.records("often")
    assert (record.why, record.occurrence, record.last) == ("The schedule was paused.", MIDNIGHT, MIDNIGHT + 2 * MINUTE)
    scheduler.resume("often")
    scheduler.start_due(MIDNIGHT + 3 * MINUTE)
    assert schedule_folder.batches() == ["often-20260727T0003Z"]


def test_a_disabled_schedule_starts_nothing_and_catches_nothing_up(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly(", enabled: false")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT + MINUTE)
    schedule_folder.nightly(", catch_up: all")
    scheduler.start_due(MIDNIGHT + 2 * MINUTE)
    assert schedule_folder.batches() == []
    assert schedule_folder.records() == []


def test_a_manual_run_is_one_batch_per_second_and_counts_as_running(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly(", enabled: false")
    scheduler = schedule_folder.scheduler()
    first = scheduler.run("nightly", MIDNIGHT - timedelta(hours=1))
    again = scheduler.run("nightly", MIDNIGHT - timedelta(hours=1))
    assert first.batch_id == again.batch_id == "nightly-20260726T230000Z"
    schedule_folder.nightly()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    assert schedule_folder.batches() == ["nightly-20260726T230000Z"]
    assert schedule_folder.records()[0].why == "Batch nightly-20260726T230000Z was still running."
    with pytest.raises(NoSuchSchedule):
        scheduler.run("nope", MIDNIGHT)


def test_an_invalid_manifest_is_recorded_and_does_not_stop_other_schedules(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.schedules(
        'name: bad, cron: "0 0 * * *", manifest: bad.yaml',
        'name: gone, cron: "0 0 * * *", manifest: gone.yaml',
        'name: nightly, cron: "0 0 * * *", manifest: m.yaml',
    )
    schedule_folder.write("bad.yaml", "version: 1\nname: '{date'\nitems: [{prompt: p}]\n")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    assert schedule_folder.batches() == ["nightly-20260727T0000Z"]
    (bad,), (gone,) = schedule_folder.records("bad"), schedule_folder.records("gone")
    assert (bad.did, gone.did) == (Did.FAILED, Did.FAILED)
    assert "bad.yaml:2:7" in str(bad.why)
    assert "gone.yaml cannot be read" in str(gone.why)


def test_an_unavailable_s3_server_is_retried_a_bounded_number_of_times(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly(", catch_up: none")
    schedule_folder.scheduler().start_due(BEFORE)
    offline = Scheduler.of(
        Service.connect(schedule_folder.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    )
    offline.start_due(MIDNIGHT)
    assert schedule_folder.records() == []
    (waiting,) = schedule_folder.store.read("nightly").waiting
    assert waiting.start_at > MIDNIGHT
    for _ in range(MAX_ATTEMPTS - 1):
        (waiting,) = schedule_folder.store.read("nightly").waiting
        offline.start_due(waiting.start_at)
    (record,) = schedule_folder.records()
    assert record.did is Did.FAILED
    assert "S3 does not answer" in str(record.why)


def test_the_records_of_a_schedule_are_bounded(schedule_folder: ScheduleFolder) -> None:
    for minute in range(MAX_RECORDS + 10):
        schedule_folder.store.record_manual_start("often", f"often-{minute}", MIDNIGHT)
    assert [record.batch for record in schedule_folder.records("often")][:2] == ["often-59", "often-58"]
    assert len(schedule_folder.records("often")) == MAX_RECORDS
    assert schedule_folder.store.running("often") == []


def test_the_summary_has_next_times_batches_and_pauses(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly(", timezone: Europe/Berlin")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(at("2026-10-23T21:00:00"))
    scheduler.start_due(at("2026-10-23T22:00:00"))
    now = at("2026-10-24T12:00:00")
    shown = document(summary(schedule_folder.file, schedule_folder.store, schedule_folder.service.ledger.batches, now))
    (nightly,) = shown["schedules"]
    assert nightly["next"][:2] == ["2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"]
    assert [batch["id"] for batch in nightly["batches"]] == ["nightly-20261023T2200Z"]
    assert nightly["not_made"] == []
    scheduler.pause("nightly", now)
    shown = document(summary(schedule_folder.file, schedule_folder.store, schedule_folder.service.ledger.batches, now))
    assert shown["schedules"][0]["next"] == []
    assert shown["schedules"][0]["paused"] is True
