"""Schedules on a real ledger and a real S3 server: what must hold whoever runs, dies, races or edits. Time is told."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis
from support.waiting import WaitFor

from pipeline.batches.service import Service
from pipeline.domain.states import BatchState
from pipeline.errors import NoSuchSchedule
from pipeline.local.servers import S3Env
from pipeline.schedules.runner import MAX_ATTEMPTS, MAX_STARTS, submit
from pipeline.schedules.schedule_loader import load_schedules
from pipeline.schedules.scheduler import Scheduler
from pipeline.schedules.store import MAX_RECORDS, Did, Record, ScheduleStore
from pipeline.schedules.summary import document, summary
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


class House:
    """A folder with a schedules file and a manifest, on the servers of a test."""

    def __init__(self, folder: Path, settings: Settings, storage: Storage) -> None:
        self.folder = folder
        self.storage = storage
        self.settings = settings
        self.file = settings.schedules
        self.states = ScheduleStore.connect(settings.redis_url)
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
        """One of another process: nothing is shared but the client of S3, which takes long to make."""
        return Scheduler.of(Service.connect(self.settings, storage=self.storage))

    def batches(self) -> list[str]:
        return sorted(row.id for row in self.scheduler().service.ledger.queries.recent_batches(1000))

    def records(self, name: str = "nightly") -> list[Record]:
        return list(self.states.read(name).records)

    def end(self, batch_id: str) -> None:
        self.scheduler().service.ledger.batches.set_status(batch_id, BatchState.SUCCEEDED, among=[BatchState.QUEUED])


@pytest.fixture
def house(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, tmp_path: Path) -> House:
    settings = Settings(
        redis_url=redis_url,
        s3_endpoint=s3_server.endpoint,
        output=bucket,
        schedules=tmp_path / "schedules.yaml",
        lease_s=60,
    )
    return House(tmp_path, settings, storage)


def test_a_tick_makes_one_batch_however_many_schedulers_race(house: House) -> None:
    house.often(", overlap: allow")
    schedulers = [house.scheduler() for _ in range(8)]
    schedulers[0].start_due(BEFORE)
    with ThreadPoolExecutor(8) as pool:
        for minute in range(3):
            now = MIDNIGHT + minute * MINUTE
            list(pool.map(lambda scheduler, now=now: scheduler.start_due(now), schedulers))
    for scheduler in schedulers:
        scheduler.start_due(MIDNIGHT + 2 * MINUTE)
    assert house.batches() == ["often-20260727T0000Z", "often-20260727T0001Z", "often-20260727T0002Z"]
    assert [record.did for record in house.records("often")] == [Did.STARTED] * 3


def test_the_batch_is_the_manifest_with_the_tick_filled_in(house: House) -> None:
    house.nightly(", timezone: Asia/Tokyo")
    scheduler = house.scheduler()
    scheduler.start_due(at("2026-07-26T14:59:00"))
    scheduler.start_due(at("2026-07-26T15:00:05"))
    (batch_id,) = house.batches()
    row = scheduler.service.ledger.batches.get(batch_id)
    assert (row.id, row.name, row.trigger) == ("nightly-20260726T1500Z", "night-2026-07-27", "schedule:nightly")
    assert [item.prompt for item in scheduler.service.ledger.items.stream(batch_id)] == ["nightly 0000"]


def test_the_manifest_is_read_afresh_at_every_run(house: House) -> None:
    house.often(", overlap: allow")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    house.write("m.yaml", MANIFEST.replace("night-", "changed-"))
    scheduler.start_due(MIDNIGHT + MINUTE)
    names = {row.id: row.name for row in scheduler.service.ledger.queries.recent_batches()}
    assert names == {"often-20260727T0000Z": "night-2026-07-27", "often-20260727T0001Z": "changed-2026-07-27"}


def test_a_manifest_on_s3_is_read_from_there_and_names_only_allowed_buckets(house: House, bucket: str) -> None:
    house.schedules(
        f'name: good, cron: "0 0 * * *", manifest: {bucket}good.yaml',
        f'name: strange, cron: "0 0 * * *", manifest: {bucket}strange.yaml',
        f'name: absent, cron: "0 0 * * *", manifest: {bucket}absent.yaml',
    )
    scheduler = house.scheduler()
    scheduler.service.storage.put(f"{bucket}good.yaml", MANIFEST.encode(), "application/yaml")
    strange = MANIFEST.replace("https://example.com", "s3://elsewhere").encode()
    scheduler.service.storage.put(f"{bucket}strange.yaml", strange, "application/yaml")
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    assert house.batches() == ["good-20260727T0000Z"]
    assert "elsewhere" in str(house.records("strange")[0].why)
    assert house.records("absent")[0].why == f"There is no object {bucket}absent.yaml."


def test_a_file_of_the_manifest_is_sent_along(house: House) -> None:
    sample = Path(__file__).parents[2] / "config/samples/portrait.jpg"
    (house.folder / "face.jpg").write_bytes(sample.read_bytes())
    house.write("m.yaml", MANIFEST.replace("https://example.com/1.jpg", "face.jpg"))
    house.nightly()
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    (item,) = scheduler.service.ledger.items.stream("nightly-20260727T0000Z")
    assert item.image
    assert scheduler.service.storage.get(item.image) == sample.read_bytes()


DIES_ON_SUBMIT = """
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

def dies(self, *args, **options):
    if when == "after":
        submit(self, *args, **options)
    os._exit(9)

Submission.submit = dies
Scheduler.of(Service.connect(settings)).start_due(datetime.fromisoformat(now))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_scheduler_that_dies_while_it_starts_a_batch_loses_no_tick(
    house: House, wait_for: WaitFor, when: str
) -> None:
    house.nightly()
    house.scheduler().start_due(BEFORE)
    settings = house.settings
    servers = (settings.redis_url, str(settings.s3_endpoint), str(settings.output))
    died = subprocess.run(
        [sys.executable, "-c", DIES_ON_SUBMIT, *servers, str(house.file), when, MIDNIGHT.isoformat()],
        timeout=60,
        check=False,
    )
    assert died.returncode == 9
    assert house.records() == []

    def goes_on() -> bool:
        house.scheduler().start_due(MIDNIGHT + MINUTE)
        return bool(house.records())

    wait_for(goes_on, "the lease of the dead to run out")
    assert house.batches() == ["nightly-20260727T0000Z"]
    assert [record.did for record in house.records()] == [Did.STARTED]
    assert house.scheduler().service.ledger.batches.is_accepted("nightly-20260727T0000Z")


def test_a_claim_holds_off_others_while_it_lasts(house: House) -> None:
    house.nightly()
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    assert house.states.claim("nightly", "another", lease_s=60)
    scheduler.start_due(MIDNIGHT)
    assert house.batches() == []
    house.states.release("nightly", "another")
    scheduler.start_due(MIDNIGHT + MINUTE)
    assert house.batches() == ["nightly-20260727T0000Z"]


def test_what_was_written_under_a_lost_claim_is_refused(house: House, wait_for: WaitFor) -> None:
    house.nightly()
    house.scheduler().start_due(BEFORE)
    house.states.claim("nightly", "slow", lease_s=60)
    house.scheduler().start_due(MIDNIGHT)
    occurrence = house.states.read("nightly").waiting[0]
    house.states.claim("nightly", "slow", lease_s=0.001)
    wait_for(lambda: house.states.claim("nightly", "quick", lease_s=60), "the claim of the slow one to run out")
    record = Record(Did.SKIPPED, MIDNIGHT, occurrence.moment, why="slow")
    assert not house.states.complete("nightly", "slow", occurrence, record)
    assert house.states.defer("nightly", "slow", occurrence, MIDNIGHT) == 0
    assert house.states.complete("nightly", "quick", occurrence, record)


def test_a_submission_that_was_cut_off_is_taken_up(house: House) -> None:
    house.nightly()
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    schedule = load_schedules(house.file, house.states).named("nightly")
    submit(scheduler.service, schedule, house.folder, "nightly-20260727T0000Z", MIDNIGHT)
    scheduler.start_due(MIDNIGHT)
    assert house.batches() == ["nightly-20260727T0000Z"]
    assert [record.batch for record in house.records()] == ["nightly-20260727T0000Z"]


def test_a_tick_whose_batch_redis_has_lost_is_not_made_again(house: House) -> None:
    house.nightly()
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    Redis.from_url(house.settings.redis_url).flushall()
    house.scheduler().start_due(MIDNIGHT + timedelta(seconds=20))
    assert house.batches() == []
    (record,) = house.records()
    assert (record.did, record.occurrence) == (Did.FAILED, MIDNIGHT)
    assert "dailies recover" in str(record.why)


def test_skip_leaves_out_what_meets_a_batch_that_runs(house: House) -> None:
    house.often(", overlap: skip")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    for minute in range(5):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert house.batches() == ["often-20260727T0000Z"]
    house.end("often-20260727T0000Z")
    scheduler.start_due(MIDNIGHT + 5 * MINUTE)
    assert house.batches() == ["often-20260727T0000Z", "often-20260727T0005Z"]
    _, skipped, _ = house.records("often")
    assert (skipped.did, skipped.occurrence, skipped.last) == (Did.SKIPPED, MIDNIGHT + MINUTE, MIDNIGHT + 4 * MINUTE)
    assert skipped.why == "Batch often-20260727T0000Z was still running."


def test_queue_has_one_tick_wait_for_the_batch_that_runs(house: House) -> None:
    house.often(", overlap: queue")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    for minute in range(4):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert house.batches() == ["often-20260727T0000Z"]
    assert [occurrence.moment for occurrence in house.states.read("often").waiting] == [MIDNIGHT + MINUTE]
    house.end("often-20260727T0000Z")
    scheduler.start_due(MIDNIGHT + 3 * MINUTE + timedelta(seconds=20))
    assert house.batches() == ["often-20260727T0000Z", "often-20260727T0001Z"]
    assert [record.did for record in house.records("often")] == [Did.STARTED, Did.SKIPPED, Did.STARTED]


def test_allow_starts_whatever_runs(house: House) -> None:
    house.often(", overlap: allow")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    for minute in range(3):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert len(house.batches()) == 3


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        ("catch_up: none", []),
        ("catch_up: last", ["20260803T0000Z"]),
        ("catch_up: last, catch_up_window: 2h", []),
        ("catch_up: all, overlap: allow, catch_up_window: 72h", ["20260801T0000Z", "20260802T0000Z", "20260803T0000Z"]),
    ],
)
def test_after_a_week_down_what_was_missed_is_made_up_for_as_told(house: House, policy: str, made: list[str]) -> None:
    house.nightly(f", {policy}")
    house.scheduler().start_due(BEFORE)
    house.scheduler().start_due(at("2026-08-03T12:00:00"))
    assert house.batches() == [f"nightly-{occurrence}" for occurrence in made]
    skipped = [record for record in house.records() if record.did is Did.SKIPPED]
    assert [record.occurrence for record in skipped] == [MIDNIGHT]
    assert "catch_up" in str(skipped[0].why)


def test_what_is_on_time_has_its_place_behind_what_is_caught_up(house: House) -> None:
    house.often(", catch_up: all, catch_up_window: 5m, overlap: queue")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT + 5 * MINUTE)
    scheduler.start_due(MIDNIGHT + 6 * MINUTE)
    (started,) = house.batches()
    waiting = [occurrence.moment.minute for occurrence in house.states.read("often").waiting]
    assert (started, waiting) == ("often-20260727T0001Z", [2, 3, 4])
    assert [record.why for record in house.records("often") if record.last == MIDNIGHT + 6 * MINUTE] == [
        "Batch often-20260727T0001Z was still running, and one tick waited already."
    ]


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_what_is_all_caught_up_runs_one_after_the_other(house: House, overlap: str) -> None:
    house.nightly(f", catch_up: all, catch_up_window: 72h, overlap: {overlap}")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    now = at("2026-08-03T12:00:00")
    ids = ["nightly-20260801T0000Z", "nightly-20260802T0000Z", "nightly-20260803T0000Z"]
    for number in range(3):
        scheduler.start_due(now + number * MINUTE)
        scheduler.start_due(now + number * MINUTE)
        assert house.batches() == ids[: number + 1]
        house.end(ids[number])


def test_much_that_is_caught_up_makes_room_for_others(house: House) -> None:
    house.often(", catch_up: all, catch_up_window: 30m, overlap: allow")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    now = MIDNIGHT + timedelta(hours=3)
    assert scheduler.start_due(now) == now
    assert len(house.batches()) == MAX_STARTS
    assert scheduler.start_due(now) != now
    assert len(house.batches()) == 30


def test_jitter_delays_the_start_and_wakes_for_it(house: House) -> None:
    house.nightly(", jitter_s: 3600")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    start = scheduler.start_due(MIDNIGHT)
    assert start
    assert MIDNIGHT < start < MIDNIGHT + timedelta(hours=1)
    scheduler.start_due(start - timedelta(seconds=1))
    assert house.batches() == []
    scheduler.start_due(start)
    assert house.batches() == ["nightly-20260727T0000Z"]


def test_a_broken_edit_leaves_the_last_good_one_in_force_also_after_a_restart(house: House) -> None:
    house.often(", overlap: allow")
    house.scheduler().start_due(BEFORE)
    house.file.write_text("schedules: [{name: often, cron: often}]\n")
    house.scheduler().start_due(MIDNIGHT)
    house.file.unlink()
    house.scheduler().start_due(MIDNIGHT + MINUTE)
    assert len(house.batches()) == 2
    assert "is not there" in str(house.states.file().error)
    house.file.write_text("")
    house.scheduler().start_due(MIDNIGHT + 2 * MINUTE)
    assert len(house.batches()) == 3
    found = summary(house.file, house.states, house.scheduler().service.ledger, MIDNIGHT)
    assert ":1:1: " in str(found.trouble)
    assert [view.schedule.name for view in found.schedules] == ["often"]
    house.schedules()
    house.scheduler().start_due(MIDNIGHT + 3 * MINUTE)
    assert len(house.batches()) == 3
    assert house.states.file().error is None


def test_an_edit_takes_effect_without_a_restart(house: House) -> None:
    scheduler = house.scheduler()
    assert scheduler.start_due(BEFORE) is None
    house.nightly()
    assert scheduler.start_due(BEFORE) == MIDNIGHT
    scheduler.start_due(MIDNIGHT)
    assert house.batches() == ["nightly-20260727T0000Z"]


def test_a_schedule_is_not_held_to_times_before_it_was_in_force(house: House) -> None:
    house.nightly(", catch_up: all, catch_up_window: 7d")
    scheduler = house.scheduler()
    scheduler.start_due(MIDNIGHT + timedelta(hours=1))
    house.schedules()
    day = timedelta(days=1)
    for hours in range(1, 60):
        scheduler.start_due(MIDNIGHT + timedelta(hours=hours))
    house.nightly(", catch_up: all, catch_up_window: 7d")
    scheduler.start_due(MIDNIGHT + timedelta(hours=60))
    assert house.batches() == []
    scheduler.start_due(MIDNIGHT + 3 * day)
    assert house.batches() == ["nightly-20260730T0000Z"]


def test_a_paused_schedule_skips_until_it_is_resumed(house: House) -> None:
    house.often(", overlap: allow")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.pause("often", BEFORE)
    for minute in range(3):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert house.batches() == []
    (record,) = house.records("often")
    assert (record.why, record.occurrence, record.last) == ("The schedule was paused.", MIDNIGHT, MIDNIGHT + 2 * MINUTE)
    scheduler.resume("often")
    scheduler.start_due(MIDNIGHT + 3 * MINUTE)
    assert house.batches() == ["often-20260727T0003Z"]


def test_a_schedule_that_is_not_enabled_is_silent_and_catches_nothing_up(house: House) -> None:
    house.nightly(", enabled: false")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT + MINUTE)
    house.nightly(", catch_up: all")
    scheduler.start_due(MIDNIGHT + 2 * MINUTE)
    assert house.batches() == []
    assert house.records() == []


def test_a_run_by_hand_is_one_batch_a_second_and_counts_as_running(house: House) -> None:
    house.nightly(", enabled: false")
    scheduler = house.scheduler()
    first = scheduler.run("nightly", MIDNIGHT - timedelta(hours=1))
    again = scheduler.run("nightly", MIDNIGHT - timedelta(hours=1))
    assert first.batch_id == again.batch_id == "nightly-20260726T230000Z"
    house.nightly()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    assert house.batches() == ["nightly-20260726T230000Z"]
    assert house.records()[0].why == "Batch nightly-20260726T230000Z was still running."
    with pytest.raises(NoSuchSchedule):
        scheduler.run("nope", MIDNIGHT)


def test_a_manifest_with_mistakes_is_recorded_and_holds_up_nobody(house: House) -> None:
    house.schedules(
        'name: bad, cron: "0 0 * * *", manifest: bad.yaml',
        'name: gone, cron: "0 0 * * *", manifest: gone.yaml',
        'name: nightly, cron: "0 0 * * *", manifest: m.yaml',
    )
    house.write("bad.yaml", "version: 1\nname: '{date'\nitems: [{prompt: p}]\n")
    scheduler = house.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    assert house.batches() == ["nightly-20260727T0000Z"]
    (bad,), (gone,) = house.records("bad"), house.records("gone")
    assert (bad.did, gone.did) == (Did.FAILED, Did.FAILED)
    assert "bad.yaml:2:7" in str(bad.why)
    assert "gone.yaml cannot be read" in str(gone.why)


def test_an_s3_server_that_is_away_is_tried_again_and_not_for_ever(house: House) -> None:
    house.nightly(", catch_up: none")
    house.scheduler().start_due(BEFORE)
    dead = Scheduler.of(Service.connect(house.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})))
    dead.start_due(MIDNIGHT)
    assert house.records() == []
    (waiting,) = house.states.read("nightly").waiting
    assert waiting.start_at > MIDNIGHT
    for _ in range(MAX_ATTEMPTS - 1):
        (waiting,) = house.states.read("nightly").waiting
        dead.start_due(waiting.start_at)
    (record,) = house.records()
    assert record.did is Did.FAILED
    assert "S3 does not answer" in str(record.why)


def test_what_is_kept_of_a_schedule_has_a_bound(house: House) -> None:
    for minute in range(MAX_RECORDS + 10):
        house.states.record_manual_start("often", f"often-{minute}", MIDNIGHT)
    assert [record.batch for record in house.records("often")][:2] == ["often-59", "often-58"]
    assert len(house.records("often")) == MAX_RECORDS
    assert house.states.running("often") == []


def test_the_overview_tells_all(house: House) -> None:
    house.nightly(", timezone: Europe/Berlin")
    scheduler = house.scheduler()
    scheduler.start_due(at("2026-10-23T21:00:00"))
    scheduler.start_due(at("2026-10-23T22:00:00"))
    now = at("2026-10-24T12:00:00")
    told = document(summary(house.file, house.states, scheduler.service.ledger, now))
    (nightly,) = told["schedules"]
    assert nightly["next"][:2] == ["2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"]
    assert [batch["id"] for batch in nightly["batches"]] == ["nightly-20261023T2200Z"]
    assert nightly["not_made"] == []
    scheduler.pause("nightly", now)
    told = document(summary(house.file, house.states, scheduler.service.ledger, now))
    assert told["schedules"][0]["next"] == []
    assert told["schedules"][0]["paused"] is True
