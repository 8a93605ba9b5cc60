"""The ceiling of a batch, wherever it comes from: the CLI, the API, schedules, S3 objects and `recover`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from pydantic import SecretStr
from support.access import BEARER, TOKEN
from support.images import a_jpeg
from support.inbox import Inbox
from support.schedule_folder import BEFORE, MIDNIGHT, ScheduleFolder
from support.waiting import WaitFor

from jobs.collect import collect
from jobs.context import context
from jobs.start import start
from jobs.submit import submit
from jobs.sweep import sweep
from jobs.worker_slots import wait_for_all
from pipeline.cli.main import main
from pipeline.domain.states import Stop
from pipeline.ledger.keys import SPEND
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox
from pipeline.schedules.store import Did
from pipeline.settings import load
from pipeline.storage.s3 import Storage
from pipeline.triggers.dispatch import EventOutcome
from pipeline.web import create_app

WorkUntil = Callable[[Callable[[], object], str], None]
REFUSED = "estimated $1.08 for 12 runs; the ceiling PIPELINE_MAX_BATCH_USD is $1.00."
"""The sandbox charges 0.09 USD for a run."""
MATRIX = 'matrix: {images: ["https://example.com/1.jpg", "https://example.com/2.jpg"], prompts: [a, b, c, d, e, f]}\n'
TWELVE = f"version: 1\nname: dear\n{MATRIX}"
ONE = 'version: 1\nname: cheap\nitems: [{image: "https://example.com/1.jpg", prompt: a}]\n'
TEN = TWELVE.replace(", f]", "]")


@pytest.fixture(autouse=True)
def _service(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service whose ceiling for a batch is 1 USD."""
    environment = {
        **sandbox.environment,
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
        "PIPELINE_OUTPUT": f"{bucket}out/",
        "PIPELINE_MAX_BATCH_USD": "1.00",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def a_file(folder: Path, text: str) -> str:
    file = folder / "manifest.yaml"
    file.write_text(text)
    return str(file)


def nothing_is_stored(ledger: Ledger, storage: Storage, bucket: str) -> bool:
    return not ledger.queries.recent_batches() and not list(storage.list(f"{bucket}out/"))


# From everywhere


@pytest.mark.parametrize("budget", ["", 'limits: {budget_usd: "5000"}\n'])
def test_submit_refuses_a_batch_above_the_ceiling_with_the_figures(
    tmp_path: Path, ledger: Ledger, storage: Storage, bucket: str, budget: str
) -> None:
    result = dailies("submit", a_file(tmp_path, TWELVE + budget), "--batch-id", "dear")
    assert (result.exit_code, result.stdout) == (2, "")
    assert REFUSED in " ".join(result.stderr.split())
    assert nothing_is_stored(ledger, storage, bucket)
    assert dailies("submit", a_file(tmp_path, TEN)).exit_code == 0


def test_a_dry_run_shows_the_refusal(tmp_path: Path) -> None:
    result = dailies("submit", a_file(tmp_path, TWELVE), "--dry-run")
    assert result.exit_code == 2
    assert "12 items" in result.stdout
    assert REFUSED in " ".join(result.stderr.split())


def test_the_api_refuses_a_batch_above_the_ceiling(ledger: Ledger, storage: Storage, bucket: str) -> None:
    settings = load().model_copy(update={"api_token": SecretStr(TOKEN), "secret": SecretStr("s" * 32)})
    client: FlaskClient = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    response = client.post("/api/v1/batches", data=TWELVE, content_type="application/yaml")
    assert (response.status_code, response.mimetype) == (422, "application/problem+json")
    assert REFUSED in response.get_json()["detail"]
    assert nothing_is_stored(ledger, storage, bucket)
    estimate = client.post("/api/v1/estimate", data=TWELVE, content_type="application/yaml").get_json()
    assert (estimate["high_usd"], REFUSED in estimate["refusal"]) == ("1.08", True)
    assert client.post("/api/v1/estimate", data=TEN, content_type="application/yaml").get_json()["refusal"] is None
    assert REFUSED in client.post("/new/validate", json={"text": TWELVE}).get_json()["summary"]


def test_a_schedule_records_the_refusal(schedule_folder: ScheduleFolder, tmp_path: Path) -> None:
    settings = load().model_copy(update={"schedules": schedule_folder.file})
    folder = ScheduleFolder(tmp_path, settings, schedule_folder.service.storage)
    folder.write("m.yaml", TWELVE)
    folder.nightly()
    scheduler = folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    assert folder.batches() == []
    (record,) = folder.records("nightly")
    assert record.did is Did.FAILED
    assert REFUSED in (record.why or "")


def test_a_dropped_manifest_above_the_ceiling_is_rejected_in_its_status_file(
    storage: Storage, bucket: str, ledger: Ledger
) -> None:
    inbox = Inbox(load(), storage, bucket)
    assert inbox.handle(inbox.put("a.yaml", TWELVE.encode())) is EventOutcome.REJECTED
    status = inbox.status("a.yaml")
    assert status["status"] == "rejected"
    assert REFUSED in status["errors"][0]["message"]
    assert nothing_is_stored(ledger, storage, bucket)
    assert list(ledger.redis.scan_iter("dailies:batch:*")) == []
    assert inbox.handle(inbox.put("b.yaml", TEN.encode())) is EventOutcome.STARTED


def test_dropped_images_above_the_ceiling_are_rejected_together(storage: Storage, bucket: str) -> None:
    inbox = Inbox(load(), storage, bucket)
    rule = inbox.images(gather_s=0.001)
    for number in range(6):
        assert inbox.handle(inbox.put(f"{number}.jpg", a_jpeg(number)), rule) is EventOutcome.GATHERED
    inbox.dispatcher.submit_gathered(rule)
    assert inbox.batches() == []
    assert all(REFUSED in inbox.status(f"{number}.jpg")["errors"][0]["message"] for number in range(6))


# Unknown prices, repeats, recovery


def test_a_batch_of_unknown_price_is_accepted_and_one_run_shows_the_price(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRO_API_URL", "http://127.0.0.1:1/v1")
    assert dailies("submit", a_file(tmp_path, TWELVE), "--batch-id", "dear").exit_code == 0
    ledger.batches.start("dear", price_usd=Decimal(0), max_failures=12)
    leases = ledger.runs.claim_pending(32, lease_s=60, max_active=0, max_batch_usd=load().max_batch_usd)
    assert len(leases.runs) == 1


def test_a_batch_that_was_accepted_before_the_ceiling_is_the_same_batch_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_MAX_BATCH_USD")
    file = a_file(tmp_path, TWELVE)
    assert dailies("submit", file, "--batch-id", "dear").exit_code == 0
    monkeypatch.setenv("PIPELINE_MAX_BATCH_USD", "1.00")
    again = dailies("submit", file, "--batch-id", "dear")
    assert (again.exit_code, again.stdout) == (0, "dear\n")


def test_a_recovered_batch_keeps_its_paid_runs_and_stays_below_the_ceiling(
    tmp_path: Path, ledger: Ledger, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_MAX_BATCH_USD")
    assert dailies("submit", a_file(tmp_path, TWELVE), "--batch-id", "dear").exit_code == 0
    ledger.redis.flushall()
    monkeypatch.setenv("PIPELINE_MAX_BATCH_USD", "1.00")
    assert dailies("recover", f"{bucket}out/dear/").exit_code == 0
    ledger.batches.start("dear", price_usd=Decimal(0), max_failures=12)
    leases = ledger.runs.claim_pending(32, lease_s=60, max_active=0, max_batch_usd=load().max_batch_usd)
    assert len(leases.runs) == 11, "1.00 USD pays for eleven runs at the prices of the items"


# With workers


def submit_four(folder: Path, more: str = "") -> None:
    (folder / "face.jpg").write_bytes(Path("config/samples/portrait.jpg").read_bytes())
    items = "".join(f"- {{id: i{number}, image: face.jpg, prompt: p}}\n" for number in range(4))
    result = dailies("submit", a_file(folder, f"version: 1\nname: la\n{more}items:\n{items}"), "--batch-id", "la")
    assert result.exit_code == 0, result.output


@pytest.fixture
def work_until(ledger: Ledger, wait_for: WaitFor) -> Iterator[WorkUntil]:
    """`work_until(condition, "what")`: run the jobs of workers, in this process, until the condition holds."""
    context.cache_clear()

    def run(condition: Callable[[], object], what: str) -> None:
        def holds() -> bool:
            if not ledger.batches.is_loaded("la"):
                start("la")
            for job in (sweep, submit, collect):
                job()
            wait_for_all()
            return bool(condition())

        wait_for(holds, what)

    yield run
    context.cache_clear()


def test_runs_beyond_the_ceiling_of_the_day_wait_for_the_next_day_and_status_shows_it(
    tmp_path: Path, ledger: Ledger, work_until: WorkUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_MAX_DAY_USD", "0.20")
    submit_four(tmp_path)

    def succeeded() -> int:
        return ledger.batches.get("la").counts.get("succeeded", 0)

    work_until(lambda: succeeded() == 2, "the runs of the first day")
    work_until(lambda: ledger.account.get().waits_until, "the others to wait")
    assert ledger.batches.get("la").counts == {"succeeded": 2, "pending": 2}
    status = json.loads(dailies("status", "la", "--json").stdout)
    account = json.loads(dailies("status", "--json").stdout)["account"]
    assert (status["status"], account["day_limit_usd"], account["day_spend_usd"]) == ("running", "0.2", "0.18")
    assert status["waits_until"] == account["waits_until"]
    assert account["waits_until"].endswith("T00:00:00Z")
    for text in (dailies("status", "la").stdout, dailies("status").stdout):
        assert "PIPELINE_MAX_DAY_USD is $0.20, and $0.18 is spent today" in " ".join(text.split())
    today = int(ledger.redis.time()[0]) // 86_400
    ledger.redis.hdel(SPEND, str(today))
    work_until(lambda: ledger.batches.get("la").counts == {"succeeded": 4}, "the runs of the next day")
    assert ledger.account.get().waits_until is None


def test_a_batch_that_reaches_the_ceiling_of_the_service_is_stopped_for_that_reason(
    tmp_path: Path, ledger: Ledger, work_until: WorkUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_MAX_BATCH_USD")
    submit_four(tmp_path, 'limits: {budget_usd: "5.00"}\n')
    monkeypatch.setenv("PIPELINE_MAX_BATCH_USD", "0.20")
    work_until(lambda: ledger.batches.has_ended("la"), "the batch")
    batch = ledger.batches.get("la")
    assert (dict(batch.counts), batch.reason) == ({"succeeded": 2, "cancelled": 2}, Stop.CEILING)


# The ceilings of a rule


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ('{budget_usd: "500", max_active: 900, attempts: 9, deadline: 9h}', ("0.5", 4, 2, 3600)),
        ('{budget_usd: "0.20", max_active: 1, attempts: 1, deadline: 1m}', ("0.2", 1, 1, 60)),
        ("{}", ("0.5", 4, 2, 3600)),
    ],
)
def test_a_dropped_manifest_lowers_the_limits_of_its_rule_and_never_raises_them(
    inbox: Inbox, limits: str, expected: tuple[str, int, int, int]
) -> None:
    rule = inbox.parsed_rule('limits: {budget_usd: "0.50", max_active: 4, attempts: 2, deadline: 1h}')
    text = f"{ONE}limits: {limits}\n"
    assert inbox.handle(inbox.put("a.yaml", text.encode()), rule) is EventOutcome.STARTED
    ledger, (batch_id,) = inbox.service.ledger, inbox.batches()
    budget, config = ledger.batches.budget(batch_id).budget_usd, ledger.batches.config(batch_id)
    max_active = ledger.redis.hget(f"dailies:batch:{batch_id}", "max_active")
    assert (str(budget), int(max_active), config.attempts, config.deadline_s) == expected


def test_a_dropped_manifest_above_the_ceiling_of_its_rule_is_rejected_with_the_figures(
    storage: Storage, bucket: str
) -> None:
    inbox = Inbox(load(), storage, bucket)
    rule = inbox.parsed_rule('limits: {budget_usd: "0.50"}')
    assert inbox.handle(inbox.put("a.yaml", TEN.encode()), rule) is EventOutcome.REJECTED
    expected = "estimated $0.90 for 10 runs; the ceiling limits.budget_usd of the rule 'inbox' is $0.50."
    assert expected in inbox.status("a.yaml")["errors"][0]["message"]
    dearer = inbox.parsed_rule('limits: {budget_usd: "50"}')
    assert inbox.handle(inbox.put("b.yaml", TWELVE.encode()), dearer) is EventOutcome.REJECTED
    assert REFUSED in inbox.status("b.yaml")["errors"][0]["message"], "the smallest ceiling wins"
