"""The version of the stored data: a compatible release continues it, any other is refused with a message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis
from support.ledger_fixtures import RUNNING, UNKNOWN, a_batch, claims, counts, dues, succeed

from pipeline.cli.main import main
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import Review
from pipeline.domain.states import BatchState, ItemState
from pipeline.errors import IncompatibleSchema, Unreachable
from pipeline.ledger.keys import PREFIX, SCHEMA
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import FinalizationResult, PollLease
from pipeline.ledger.schema_version import CURRENT, OLDEST_COMPATIBLE
from pipeline.schedules.store import ScheduleStore
from pipeline.settings import Settings
from pipeline.triggers.store import TriggerStore
from pipeline.web import create_app

ROOT = Path(__file__).parents[2]
RELEASE_0_1_0 = ROOT / "tests/data/ledger/release_0_1_0.json"
NEWER = CURRENT + 1


def load_keys(redis: Any, file: Path) -> None:
    """Write the keys of `file`: {key: {type, value}}."""
    for key, stored in json.loads(file.read_text()).items():
        value = stored["value"]
        match stored["type"]:
            case "string":
                redis.set(key, value)
            case "hash":
                redis.hset(key, mapping=value)
            case "zset":
                redis.zadd(key, value)
            case "set":
                redis.sadd(key, *value)
            case "list":
                redis.rpush(key, *value)


@pytest.fixture
def old_ledger(ledger: Ledger) -> Ledger:
    """The ledger of a batch that release 0.1.0 began; all its leases and waits have expired."""
    load_keys(ledger.redis, RELEASE_0_1_0)
    for queue in ("due", "leases", "adopt"):
        ledger.redis.zadd(PREFIX + queue, dict.fromkeys(ledger.redis.zrange(PREFIX + queue, 0, -1), 1))
    ledger.check_schema()
    return ledger


def continue_run(ledger: Ledger, due: PollLease) -> None:
    if due.state == UNKNOWN:
        assert ledger.runs.accept(due.run, due.lease, due.hint_task, due.hint_token, 0)
    elif due.state == RUNNING:
        succeed(ledger, due)
    else:
        assert ledger.runs.end(due.run, due.lease, due.state, ItemState.SUCCEEDED, {}).ours


def test_a_new_server_gets_the_current_version(ledger: Ledger) -> None:
    ledger.check_schema()
    ledger.check_schema()
    assert ledger.redis.get(SCHEMA) == str(CURRENT)


def test_the_previous_version_is_continued(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.redis.set(SCHEMA, OLDEST_COMPATIBLE)
    ledger.check_schema()
    assert ledger.redis.get(SCHEMA) == str(CURRENT)
    assert len(claims(ledger)) == 3


@pytest.mark.parametrize("version", [str(NEWER), str(OLDEST_COMPATIBLE - 1), "1.5", "two"])
def test_an_incompatible_version_is_refused_and_stays(ledger: Ledger, version: str) -> None:
    ledger.redis.set(SCHEMA, version)
    with pytest.raises(IncompatibleSchema, match=rf"schema version {version}; .* versions 1 to 2\. \w+"):
        ledger.check_schema()
    assert ledger.redis.get(SCHEMA) == version


def test_a_newer_version_stops_a_command_with_a_message(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.redis.set(SCHEMA, NEWER)
    monkeypatch.setenv("REDIS_URL", redis_url)
    for args in (["list"], ["cancel", "b"], ["schedules"], ["listen"]):
        result = CliRunner().invoke(main, args)
        assert result.exit_code == IncompatibleSchema.exit_code, result.output
        assert "Upgrade this program" in result.stderr


def test_a_newer_version_stops_a_worker_with_a_message(ledger: Ledger, redis_url: str) -> None:
    ledger.redis.set(SCHEMA, NEWER)
    options = ["-c", "config.rq", "-w", "jobs.worker.NonForkingWorker", "-S", "json", "--burst"]
    worker = subprocess.run(
        [sys.executable, "-m", "rq.cli", "worker", *options, "dailies"],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert worker.returncode == IncompatibleSchema.exit_code, worker.stderr
    assert "Upgrade this program" in worker.stdout + worker.stderr


def test_a_newer_version_stops_the_web_process(ledger: Ledger, redis_url: str) -> None:
    ledger.redis.set(SCHEMA, NEWER)
    with pytest.raises(IncompatibleSchema):
        create_app(Settings(redis_url=redis_url))


def test_a_web_process_that_started_without_redis_is_not_ready_on_incompatible_data(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = [Unreachable("Redis does not respond.")]
    check_schema = Ledger.check_schema

    def check_after_outage(ledger: Ledger) -> None:
        if outage:
            raise outage.pop()
        check_schema(ledger)

    monkeypatch.setattr(Ledger, "check_schema", check_after_outage)
    client = create_app(Settings(redis_url=redis_url)).test_client()
    ledger.redis.set(SCHEMA, NEWER)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json
    assert "version" in response.json["redis"]


def test_a_batch_that_release_0_1_0_began_is_continued_to_its_end(old_ledger: Ledger) -> None:
    assert counts(old_ledger, "open") == {
        "pending": 1, "submitting": 2, "running": 1, "unknown": 1, "collecting": 1, "succeeded": 1, "failed": 1,
    }  # fmt: skip
    assert old_ledger.runs.expire_leases(adopt_wait_s=600, on_unknown="hold") == []
    assert counts(old_ledger, "open")["unknown"] == 2
    for claim in old_ledger.runs.mark_posting(claims(old_ledger)):
        assert claim.attempts_spent == 1
        assert old_ledger.runs.accept(claim.run, claim.lease, f"task-{claim.run.item}", "token", 0)
    assert old_ledger.runs.record_callback(RunId("open", "i1", 1), "task-i1", "token")
    while due := dues(old_ledger):
        for run in due:
            continue_run(old_ledger, run)
    assert counts(old_ledger, "open") == {"succeeded": 7, "failed": 1}
    assert old_ledger.batches.get("open").cost_usd == 7 * Decimal("0.09")
    assert old_ledger.account.get().active == 0
    assert old_ledger.items.get("open", "i5").review == Review("approved", "good")
    lease = old_ledger.finalization.claim("open", lease_s=60)
    assert lease
    complete = old_ledger.finalization.complete
    assert complete("open", lease, BatchState.PARTIAL, datetime.now(UTC), 1) is FinalizationResult.DONE
    assert old_ledger.batches.open_ids() == []


def test_a_notification_of_release_0_1_0_is_delivered(old_ledger: Ledger) -> None:
    [delivery] = old_ledger.outbox.claim(8, lease_s=60).due
    assert (delivery.batch_id, delivery.revision, delivery.attempts) == ("ended", 1, 1)
    assert old_ledger.outbox.complete(delivery)


def test_schedules_and_triggers_of_release_0_1_0_are_continued(old_ledger: Ledger, redis_url: str) -> None:
    schedules = ScheduleStore.connect(redis_url)
    moment = datetime(2026, 7, 1, 2, tzinfo=UTC)
    row = schedules.read("nightly")
    assert ([one.moment for one in row.waiting], row.attempts[moment]) == ([moment], 1)
    assert schedules.claim("nightly", "new-lease", lease_s=60)
    assert schedules.defer("nightly", "new-lease", row.waiting[0], moment) == 2
    assert schedules.running("nightly") == ["open"]
    triggers = TriggerStore.connect(redis_url)
    [number] = triggers.closed_windows("faces", 0)
    assert [version.key for version in triggers.window("faces", number)] == ["faces/1.jpg"]
    assert triggers.is_reported("open")
    assert triggers.last_batches(["inbox"]) == ["open"]


def test_the_clients_of_release_0_1_0_ignore_the_version(old_ledger: Ledger, redis_url: str) -> None:
    """They read only their own keys: recording the version adds one key and changes no other."""
    redis = Redis.from_url(redis_url, decode_responses=True)
    assert set(redis.scan_iter("*")) == {SCHEMA, *json.loads(RELEASE_0_1_0.read_text())}
