"""`dailies schedules`, and the cron process that runs schedules every minute, with a real worker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from jobs.cron import scheduler
from pipeline.batches.job_queue import Job
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
    """A folder with a schedule and its manifest. The environment names all servers."""
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
    result = dailies("--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (schedule,) = json.loads(result.stdout)["schedules"]
    return dict(schedule)


def test_run_starts_a_batch_and_prints_its_id_last(folder: Path, ledger: Ledger) -> None:
    result = dailies("run", "often")
    assert result.exit_code == 0
    batch_id = result.stdout.splitlines()[-1]
    row = ledger.batches.get(batch_id)
    assert row.trigger == "schedule:often"
    assert row.name.startswith("of-20")
    assert [batch["id"] for batch in often()["batches"]] == [batch_id]
    assert batch_id in dailies().stdout


def test_next_times_are_in_the_schedules_time_zone(folder: Path) -> None:
    schedule = often()
    assert len(schedule["next"]) == 5
    assert all(moment.endswith("+09:00") for moment in schedule["next"])
    assert "JST" in dailies().stdout


def test_pause_and_resume_are_shown(folder: Path) -> None:
    assert dailies("pause", "often").exit_code == 0
    assert (often()["paused"], often()["next"]) == (True, [])
    assert "paused" in dailies().stdout
    assert dailies("resume", "often").exit_code == 0
    assert often()["paused"] is False


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
def test_an_unknown_schedule_exits_with_4(folder: Path, verb: str) -> None:
    result = dailies(verb, "never")
    assert result.exit_code == 4
    assert "There is no schedule 'never'" in result.stderr


def test_an_invalid_manifest_exits_with_2_and_starts_no_batch(folder: Path, ledger: Ledger) -> None:
    (folder / "m.yaml").write_text("version: 1\nname: of\nitems: [{}]\n")
    result = dailies("run", "often")
    assert result.exit_code == 2
    assert "m.yaml:3:9" in result.stderr
    assert ledger.queries.recent_batches() == []
    (folder / "m.yaml").unlink()
    assert dailies("run", "often").exit_code == 2


def test_errors_of_the_schedules_file_name_their_lines(folder: Path) -> None:
    (folder / "schedules.yaml").write_text("schedules:\n- {name: often}\n")
    result = dailies()
    assert result.exit_code == 0
    assert "schedules.yaml:2:3: cron is missing" in result.stderr
    document = json.loads(dailies("--json").stdout)
    assert "manifest is missing" in document["trouble"]
    assert document["schedules"] == []


def test_a_step_above_its_field_is_refused_with_its_line_and_the_lines_to_write(folder: Path) -> None:
    (folder / "schedules.yaml").write_text('schedules:\n- {name: often, cron: "*/90 * * * *", manifest: m.yaml}\n')
    message = dailies().stderr
    assert "schedules.yaml:2:23: cron must be a cron line" in message
    assert 'write "0 */3 * * *" and "30 1-23/3 * * *"' in " ".join(message.split())


def test_without_a_file_there_are_no_schedules(folder: Path) -> None:
    (folder / "schedules.yaml").unlink()
    result = dailies()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "There are no schedules" in result.stdout


def test_the_shipped_file_is_valid_and_empty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SCHEDULES", str(ROOT / "config/schedules.yaml"))
    assert json.loads(dailies("--json").stdout) == {"trouble": None, "schedules": []}


def test_the_cron_process_enqueues_json_jobs_that_a_worker_runs(
    folder: Path, ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cron = scheduler(Redis.from_url(redis_url), sweep_every_s=30)
    assert [(job.func_name, job.cron, job.interval) for job in cron.get_jobs()] == [
        (Job.SWEEP, None, 30),
        (Job.RUN_SCHEDULES, "* * * * *", None),
    ]
    for job in cron.get_jobs():
        job.set_enqueue_time(datetime.now(UTC) - timedelta(minutes=5))
    assert cron.enqueue_jobs() == cron.get_jobs()
    assert cron.enqueue_jobs() == []
    queue = Queue("dailies", connection=cron.connection, serializer=JSONSerializer)
    assert [json.loads(job.data) for job in queue.jobs] == [[job.func_name, None, [], {}] for job in cron.get_jobs()]
    rq = Path(sys.executable).with_name("rq")
    worker = ("worker", "-c", "config.rq", "-w", "jobs.worker.NonForkingWorker", "-S", "json", "--burst", "dailies")
    done = subprocess.run([str(rq), *worker], cwd=ROOT, timeout=300, capture_output=True, text=True, check=True)
    # There is another one if the minute has ended meanwhile.
    assert {row.trigger for row in ledger.queries.recent_batches()} == {"schedule:often"}, done.stderr


def doctor_findings() -> list[tuple[str, str]]:
    return [(finding.severity, f"{finding.subject}: {finding.message}") for finding in check_schedules(load())]


def test_doctor_reads_each_manifest_like_the_next_occurrence(folder: Path, redis_url: str) -> None:
    states = ScheduleStore.connect(redis_url)
    states.record_evaluation(states.now())
    ((verdict, message),) = doctor_findings()
    assert verdict == "ok"
    assert re.fullmatch(r"schedule often: next \S+ \d\d:\d\d JST: of-20\d\d-\d\d-\d\d, 1 item", message)
    (folder / "m.yaml").write_text("version: 1\nname: of\n")
    assert doctor_findings()[0][0] == "wrong"
    (folder / "schedules.yaml").write_text("schedules: 7")
    ((verdict, message),) = doctor_findings()
    assert (verdict, "schedules.yaml:1:12" in message) == ("wrong", True)


def test_doctor_reports_schedules_that_no_process_runs(folder: Path, redis_url: str) -> None:
    assert ("note", "schedules: The schedules have never run.") in doctor_findings()
    states = ScheduleStore.connect(redis_url)
    states.record_evaluation(states.now() - timedelta(hours=1))
    verdict, message = doctor_findings()[-1]
    assert (verdict, message[:45]) == ("wrong", "schedules: The schedules have not run since 2")
