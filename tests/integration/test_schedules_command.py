"""What `dailies schedules` says and does, and the heart-beat that RQ gives: real servers, a real worker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis
from rq.cron import CronScheduler

from pipeline.cli.main import main
from pipeline.doctor.schedules import check_schedules
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.schedules.store import ScheduleStore
from pipeline.settings import load
from pipeline.storage.s3 import Storage

ROOT = Path(__file__).parents[2]
GOOD = 'schedules:\n- {name: often, cron: "* * * * *", timezone: Asia/Tokyo, manifest: m.yaml}\n'
MANIFEST = 'version: 1\nname: "of-{date}"\nitems: [{prompt: "{schedule}"}]\n'


@pytest.fixture
def folder(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a schedule and its manifest; the environment says where all is."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PIPELINE_OUTPUT", bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("PIPELINE_SCHEDULES", str(tmp_path / "schedules.yaml"))
    (tmp_path / "schedules.yaml").write_text(GOOD)
    os.utime(tmp_path / "schedules.yaml", (0, 0))
    (tmp_path / "m.yaml").write_text(MANIFEST)
    return tmp_path


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, ("schedules", *args))


def often() -> dict[str, Any]:
    answer = dailies("--json")
    assert (answer.exit_code, answer.stderr) == (0, "")
    (schedule,) = json.loads(answer.stdout)["schedules"]
    return dict(schedule)


def test_run_makes_a_batch_and_prints_its_id_last(folder: Path, ledger: Ledger) -> None:
    answer = dailies("run", "often")
    assert answer.exit_code == 0
    batch_id = answer.stdout.splitlines()[-1]
    row = ledger.batches.get(batch_id)
    assert row.trigger == "schedule:often"
    assert row.name.startswith("of-20")
    assert [batch["id"] for batch in often()["batches"]] == [batch_id]
    assert batch_id in dailies().stdout


def test_next_times_are_in_the_schedules_own_zone(folder: Path) -> None:
    found = often()
    assert len(found["next"]) == 5
    assert all(moment.endswith("+09:00") for moment in found["next"])
    assert "JST" in dailies().stdout


def test_pause_and_resume_are_shown(folder: Path) -> None:
    assert dailies("pause", "often").exit_code == 0
    assert (often()["paused"], often()["next"]) == (True, [])
    assert "paused" in dailies().stdout
    assert dailies("resume", "often").exit_code == 0
    assert often()["paused"] is False


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
def test_a_schedule_that_there_is_not_ends_with_4(folder: Path, verb: str) -> None:
    answer = dailies(verb, "never")
    assert answer.exit_code == 4
    assert "There is no schedule 'never'" in answer.stderr


def test_a_manifest_with_mistakes_ends_with_2_and_makes_nothing(folder: Path, ledger: Ledger) -> None:
    (folder / "m.yaml").write_text("version: 1\nname: of\nitems: [{}]\n")
    answer = dailies("run", "often")
    assert answer.exit_code == 2
    assert "m.yaml:3:9" in answer.stderr
    assert ledger.queries.recent_batches() == []
    (folder / "m.yaml").unlink()
    assert dailies("run", "often").exit_code == 2


def test_a_broken_file_is_told_with_its_lines(folder: Path) -> None:
    (folder / "schedules.yaml").write_text("schedules:\n- {name: often}\n")
    answer = dailies()
    assert answer.exit_code == 0
    assert "schedules.yaml:2:3: needs 'cron'" in answer.stderr
    document = json.loads(dailies("--json").stdout)
    assert "needs 'manifest'" in document["trouble"]
    assert document["schedules"] == []


def test_without_a_file_there_are_none(folder: Path) -> None:
    (folder / "schedules.yaml").unlink()
    answer = dailies()
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert "There are no schedules" in answer.stdout


def test_the_file_that_is_shipped_is_good_and_empty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SCHEDULES", str(ROOT / "config/schedules.yaml"))
    assert json.loads(dailies("--json").stdout) == {"trouble": None, "schedules": []}


def test_the_heart_beat_of_rq_starts_what_is_due(
    folder: Path, ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    cron = CronScheduler(Redis.from_url(redis_url))
    cron.load_config_from_file("config/cron.py")
    (beat,) = [job for job in cron.get_jobs() if job.func_name == "jobs.run_schedules.run_schedules"]
    assert beat.cron == "* * * * *"
    beat.enqueue(cron.connection)
    rq = Path(sys.executable).with_name("rq")
    worker = ("worker", "-c", "config.rq", "-w", "jobs.worker.NonForkingWorker", "-S", "json", "--burst", "dailies")
    done = subprocess.run([str(rq), *worker], cwd=ROOT, timeout=60, capture_output=True, text=True, check=True)
    (row,) = ledger.queries.recent_batches()
    assert row.trigger == "schedule:often", done.stderr


def findings() -> list[tuple[str, str]]:
    return [(found.severity, f"{found.subject}: {found.message}") for found in check_schedules(load())]


def test_doctor_reads_each_manifest_as_the_next_tick_would(folder: Path, redis_url: str) -> None:
    states = ScheduleStore.connect(redis_url)
    states.record_evaluation(states.now())
    ((verdict, told),) = findings()
    assert verdict == "ok"
    assert re.fullmatch(r"schedule often: next \S+ \d\d:\d\d JST: of-20\d\d-\d\d-\d\d, 1 item", told)
    (folder / "m.yaml").write_text("version: 1\nname: of\n")
    assert findings()[0][0] == "wrong"
    (folder / "schedules.yaml").write_text("schedules: 7")
    ((verdict, told),) = findings()
    assert (verdict, "schedules.yaml:1:12" in told) == ("wrong", True)


def test_doctor_tells_when_nobody_looks_at_the_schedules(folder: Path, redis_url: str) -> None:
    assert ("note", "schedules: The schedules have never run.") in findings()
    states = ScheduleStore.connect(redis_url)
    states.record_evaluation(states.now() - timedelta(hours=1))
    verdict, told = findings()[-1]
    assert (verdict, told[:45]) == ("wrong", "schedules: The schedules have not run since 2")
