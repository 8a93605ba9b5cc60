"""A submission that breaks off at any step is completed by the next attempt, or cancelled; nothing is bought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis
from support.archiving import keys_of
from support.inbox import MANIFEST, Inbox
from support.schedule_folder import BEFORE, MIDNIGHT, MINUTE, ScheduleFolder

from jobs import start, sweep, write_status_files
from jobs.context import Context
from pipeline.batches.json_documents import Batch
from pipeline.batches.retention import Retention
from pipeline.batches.service import Service
from pipeline.cli.descriptions import print_batch
from pipeline.cli.main import main
from pipeline.cli.terminal import console
from pipeline.domain.model import Manifest
from pipeline.domain.states import Stop
from pipeline.errors import (
    BatchOnlyOnS3,
    NoBatchOnS3,
    StorageError,
    SubmissionInterrupted,
    SubmissionReplaced,
    Unreachable,
)
from pipeline.manifest import parser as manifests
from pipeline.schedules.store import Did
from pipeline.settings import Settings
from pipeline.triggers.dispatch import EventOutcome

REFUSED = StorageError("S3 refused it: AccessDenied.", retryable=False)
AWAY = Unreachable("Redis at 127.0.0.1:1 does not answer.")


@pytest.fixture
def service(inbox: Inbox) -> Service:
    return inbox.service


def a_manifest(prompt: str = "smiles", image: str = "https://example.com/1.jpg") -> Manifest:
    text = f'{{"version": 1, "name": "n", "items": [{{"image": "{image}", "prompt": "{prompt}"}}, {{"prompt": "x"}}]}}'
    return manifests.parse(text.encode(), file="m", read_rows=lambda _: b"", local_files=None)


def submit(service: Service, manifest: Manifest | None = None, *, trigger: str = "cli") -> bool:
    return service.submission.submit(manifest or a_manifest(), "b", trigger=trigger, folder=None).created


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise error

    return fail


def break_off(service: Service, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Let submissions break off at a step."""
    owner: Any
    owner, name, error = {
        "before the ledger": (service.ledger.batches, "open", AWAY),
        "at manifest.yaml": (service.storage, "put", REFUSED),
        "after manifest.yaml": (service.ledger.shared_images, "add", AWAY),
        "at the items": (service.ledger.items, "load", AWAY),
        "at the acceptance": (service.ledger.batches, "accept", AWAY),
        "at the job": (service.job_queue, "enqueue_once", AWAY),
    }[step]
    monkeypatch.setattr(owner, name, raising(error))
    if owner is service.storage:
        monkeypatch.setattr(owner, "put_if_absent", raising(error))


AFTER_THE_ROW = ["at manifest.yaml", "after manifest.yaml", "at the items", "at the acceptance"]


@pytest.fixture
def jobs(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The jobs run with this service, and post nothing."""
    ctx = Context(service, None, None, None, lambda run: None, service.ledger.batches.config)  # type: ignore[arg-type]
    for module in (start, sweep, write_status_files):
        monkeypatch.setattr(module, "context", lambda: ctx)
    monkeypatch.setattr(start, "submit_pending", lambda ctx: None)
    return service


def shown(service: Service, capsys: pytest.CaptureFixture[str]) -> str:
    print_batch(console(), service.ledger, service.ledger.batches.get("b"))
    return " ".join(capsys.readouterr().out.split())


def is_old(service: Service) -> None:
    """Let a day pass since the last attempt."""
    service.ledger.redis.hset("dailies:batch:b", "submitted", 1)


@pytest.mark.parametrize("step", ["before the ledger", *AFTER_THE_ROW, "at the job"])
def test_the_next_attempt_completes_it_wherever_it_broke_off(
    jobs: Service, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patch:
        break_off(jobs, patch, step)
        with pytest.raises((StorageError, Unreachable)):
            submit(jobs)
    submit(jobs)
    assert jobs.ledger.batches.is_accepted("b")
    start.start("b")
    batch = jobs.ledger.batches.get("b")
    assert (batch.status, batch.counts, batch.total) == ("running", {"pending": 2}, 2)


@pytest.mark.parametrize("entry", [{"do": "run", "item": "i", "attempt": 1}, {"do": "archive", "revision": 1}])
def test_a_batch_that_s3_did_not_show_at_first_is_never_overwritten(
    service: Service, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any]
) -> None:
    output = f"{service.settings.output}b/"
    paid = manifests.dump(a_manifest("was paid for"))
    with monkeypatch.context() as patch:
        break_off(service, patch, "at manifest.yaml")
        with pytest.raises(StorageError):
            submit(service)
    service.storage.put(f"{output}manifest.yaml", paid, "application/yaml")
    service.journal.write(output, [entry])
    with pytest.raises(BatchOnlyOnS3):
        submit(service)
    assert service.storage.get(f"{output}manifest.yaml") == paid


@pytest.mark.parametrize("step", AFTER_THE_ROW)
def test_status_shows_an_incomplete_submission_and_no_results(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    with monkeypatch.context() as patch:
        break_off(service, patch, step)
        with pytest.raises((StorageError, Unreachable)):
            submit(service)
    text = shown(service, capsys)
    assert "nothing is started" in text
    assert "dailies cancel b" in text
    assert "--batch-id b" in text
    assert "results" not in text
    assert Batch.of(service.ledger.batches.get("b")).as_json()["accepted"] is False
    submit(service)
    assert "results" in shown(service, capsys)
    assert "accepted" not in Batch.of(service.ledger.batches.get("b")).as_json()


@pytest.mark.parametrize("step", AFTER_THE_ROW)
def test_a_person_cancels_it_at_once(
    jobs: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    with monkeypatch.context() as patch:
        break_off(jobs, patch, step)
        with pytest.raises((StorageError, Unreachable)):
            submit(jobs)
    jobs.control.cancel("b")
    batch = jobs.ledger.batches.get("b")
    assert (batch.status, batch.reason, batch.counts) == ("cancelled", Stop.BY_HAND, {})
    assert batch.finished
    assert jobs.ledger.batches.open_ids() == []
    assert "results" not in shown(jobs, capsys)
    assert Batch.of(batch).results is None
    sweep.sweep()
    start.start("b")
    assert jobs.ledger.batches.get("b") == batch
    assert jobs.ledger.runs.claim_pending(10, lease_s=60, max_active=0).runs == []


def test_a_cancelled_submission_can_be_submitted_again_also_with_another_manifest(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_off(service, patch, "at the items")
        with pytest.raises(Unreachable):
            submit(service, a_manifest("old"))
    with pytest.raises(SubmissionInterrupted):
        submit(service, a_manifest("new"))
    service.control.cancel("b")
    assert submit(service, a_manifest("new"))
    prompts = [row.prompt for row in service.ledger.items.stream("b")]
    assert prompts == ["new", "x"]
    assert b"new" in (service.storage.get(f"{service.settings.output}b/manifest.yaml") or b"")
    # Its recovery goes on: the cancellation was of the attempt before.
    service.ledger.redis.flushall()
    service.recovery.recover(f"{service.settings.output}b/")
    assert service.ledger.batches.get("b").status == "queued"


@pytest.mark.parametrize("at", ["load", "accept"])
def test_a_submission_that_is_cancelled_while_it_goes_on_starts_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    owner: Any = service.ledger.items if at == "load" else service.ledger.batches
    proceed = getattr(owner, at)

    def cancelled_first(*args: Any, **options: Any) -> Any:
        service.control.cancel("b")
        return proceed(*args, **options)

    monkeypatch.setattr(owner, at, cancelled_first)
    with pytest.raises(SubmissionReplaced):
        submit(service)
    batch = service.ledger.batches.get("b")
    assert (batch.status, batch.counts) == ("cancelled", {})
    assert service.ledger.redis.llen("rq:queue:dailies") == 0


def test_a_submission_adds_no_items_to_the_one_that_replaced_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = service.ledger.items.load

    def replaced_first(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(service.ledger.items, "load", load)
        service.control.cancel("b")
        assert submit(service, a_manifest("second"))
        return load(*args, **options)

    monkeypatch.setattr(service.ledger.items, "load", replaced_first)
    with pytest.raises(SubmissionReplaced):
        submit(service, a_manifest("first"))
    assert [row.prompt for row in service.ledger.items.stream("b")] == ["second", "x"]


def test_the_sweep_cancels_it_a_day_after_the_last_attempt(jobs: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_off(jobs, patch, "at manifest.yaml")
        for _ in range(2):
            with pytest.raises(StorageError, match="dailies cancel b"):
                submit(jobs)
            sweep.sweep()
            assert jobs.ledger.batches.get("b").status == "queued"
            is_old(jobs)
    sweep.sweep()
    batch = jobs.ledger.batches.get("b")
    assert (batch.status, batch.reason) == ("cancelled", Stop.SUBMISSION)
    assert jobs.ledger.batches.open_ids() == []
    with pytest.raises(NoBatchOnS3):
        jobs.recovery.recover(f"{jobs.settings.output}b/")


def test_the_sweep_leaves_a_recovery_alone_that_was_interrupted(
    jobs: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(jobs)
    jobs.ledger.redis.flushall()
    with monkeypatch.context() as patch:
        break_off(jobs, patch, "at the acceptance")
        with pytest.raises(Unreachable):
            jobs.recovery.recover(f"{jobs.settings.output}b/")
    is_old(jobs)
    sweep.sweep()
    assert "dailies recover" in shown(jobs, capsys)
    jobs.recovery.recover(f"{jobs.settings.output}b/")
    assert jobs.ledger.batches.get("b").counts == {"pending": 2}


@pytest.mark.parametrize("accepted", [True, False])
def test_a_completed_submission_is_not_touched(jobs: Service, accepted: bool) -> None:
    assert submit(jobs)
    if not accepted:
        start.start("b")
    is_old(jobs)
    assert not jobs.control.cancel_submission("b", Stop.SUBMISSION)
    assert not submit(jobs)
    sweep.sweep()
    assert jobs.ledger.batches.get("b").counts == {"pending": 2}


def test_an_event_completes_it_also_after_the_sweep_has_cancelled_it(
    inbox: Inbox, jobs: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = inbox.put("a.yaml")
    with monkeypatch.context() as patch:
        put = inbox.storage.put_if_absent
        patch.setattr(
            inbox.storage,
            "put_if_absent",
            lambda uri, *args: raising(REFUSED)() if uri.endswith("manifest.yaml") else put(uri, *args),
        )
        with pytest.raises(StorageError):
            inbox.handle(event)
    (batch_id,) = inbox.batches()
    jobs.ledger.redis.hset(f"dailies:batch:{batch_id}", "submitted", 1)
    sweep.sweep()
    assert jobs.ledger.batches.get(batch_id).status == "cancelled"
    assert inbox.handle(event) is EventOutcome.STARTED
    assert jobs.ledger.batches.get(batch_id).status == "queued"
    assert inbox.batches() == [batch_id]


def test_an_event_does_not_start_what_a_person_has_cancelled_and_its_status_file_records_it(
    inbox: Inbox, jobs: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = inbox.put("a.yaml")
    with monkeypatch.context() as patch:
        break_off(jobs, patch, "at the items")
        with pytest.raises(Unreachable):
            inbox.handle(event)
    (batch_id,) = inbox.batches()
    jobs.control.cancel(batch_id)
    assert inbox.handle(event) is EventOutcome.KNOWN
    write_status_files.write_status_files(batch_id)
    status = inbox.status("a.yaml")
    assert status["batch_status"] == "cancelled"
    assert "results" not in status
    assert jobs.ledger.batches.get(batch_id).status == "cancelled"


def test_a_schedule_completes_it_with_its_next_attempt(
    schedule_folder: ScheduleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule_folder.nightly()
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    with monkeypatch.context() as patch:
        patch.setattr(
            scheduler.submission.storage, "put_if_absent", raising(StorageError("S3 is away.", retryable=True))
        )
        scheduler.start_due(MIDNIGHT)
    batch_id = "nightly-20260727T0000Z"
    assert not schedule_folder.service.ledger.batches.is_accepted(batch_id)
    scheduler.start_due(MIDNIGHT + MINUTE)
    assert schedule_folder.service.ledger.batches.is_accepted(batch_id)
    assert [record.did for record in schedule_folder.records()] == [Did.STARTED]


def test_the_commands_show_what_can_be_done(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, storage: Any
) -> None:
    settings: Settings = inbox.settings
    for name, value in {
        "REDIS_URL": settings.redis_url,
        "PIPELINE_OUTPUT": str(settings.output),
        "AWS_ENDPOINT_URL_S3": str(settings.s3_endpoint),
        "WIRO_API_URL": settings.wiro_api_url,
    }.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "m.yaml"
    file.write_bytes(MANIFEST)
    runner = CliRunner()
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.storage.s3.Storage.put_if_absent", raising(REFUSED))
        failed = runner.invoke(main, ["submit", str(file), "--batch-id", "b"])
    assert failed.exit_code == 3
    assert "dailies cancel b" in failed.output
    assert runner.invoke(main, ["results", "b"]).exit_code == 1
    cancelled = runner.invoke(main, ["cancel", "b"])
    assert cancelled.exit_code == 0
    assert "nothing was started" in cancelled.output
    assert "results" not in runner.invoke(main, ["status", "b"]).output
    assert Redis.from_url(settings.redis_url).llen("rq:queue:dailies") == 0


def test_forget_drops_a_submission_that_was_cancelled(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_off(service, patch, "at the items")
        with pytest.raises((StorageError, Unreachable)):
            submit(service)
    service.control.cancel("b")
    assert Retention(service.ledger, service.storage, keep_days=1e-9).find() == [], "there is nothing to archive"
    service.retention.forget("b")
    assert service.ledger.queries.recent_batches() == []


def test_a_submission_that_was_cancelled_leaves_a_small_row_and_can_be_repeated(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, manifest = service.ledger, replace(a_manifest(), params={"note": "x" * 20_000})
    with monkeypatch.context() as patch:
        break_off(service, patch, "at the acceptance")
        with pytest.raises(Unreachable):
            submit(service, manifest)
    service.control.cancel("b")
    assert keys_of(ledger) == {"batch:b"}
    assert ledger.redis.memory_usage("dailies:batch:b", samples=0) < 1500
    assert not ledger.redis.hexists("dailies:batch:b", "defaults")
    batch = ledger.batches.get("b")
    assert (batch.status, batch.model, batch.total, batch.counts) == ("cancelled", manifest.model, 2, {})
    assert submit(service, manifest)
    assert ledger.batches.config("b").params == manifest.params
