"""Outputs that were bought before are copied, not bought: with the jobs of workers in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from support.access import BEARER, TOKEN
from support.waiting import WaitFor

from jobs import reuse
from jobs.collect import collect
from jobs.context import context
from jobs.finish import finish
from jobs.output_copy import copy_stored
from jobs.start import start
from jobs.submit import submit
from jobs.sweep import sweep
from jobs.worker_slots import wait_for_all
from pipeline.batches.retention import Retention
from pipeline.cli.main import main
from pipeline.domain.model import ItemRow, Output, Review
from pipeline.domain.results import item_document
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.errors import StorageError
from pipeline.ledger.keys import REUSABLE
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import load
from pipeline.storage.s3 import Storage
from pipeline.web import create_app

Run = Callable[..., list[ItemRow]]


def an_image(number: int) -> bytes:
    """Return a picture; those of two numbers differ behind the end of the picture."""
    return Path("config/samples/portrait.jpg").read_bytes() + bytes([number]) + b"\xff\xd9"


@pytest.fixture(autouse=True)
def _service(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    environment = {
        **sandbox.environment,
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
        "PIPELINE_OUTPUT": f"{bucket}out/",
        "PIPELINE_MAX_BATCH_USD": "1.00",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    context.cache_clear()
    yield
    context.cache_clear()


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def a_file(folder: Path, items: int, more: str = "", image: str = "face.jpg") -> str:
    """Write a manifest of items `i0`, `i1`, … with one image and different prompts."""
    (folder / "face.jpg").write_bytes(an_image(1))
    lines = "".join(f"- {{id: i{n}, image: {image}, prompt: p{n}}}\n" for n in range(items))
    file = folder / "manifest.yaml"
    file.write_text(f"version: 1\nname: la\n{more}items:\n{lines}")
    return str(file)


@pytest.fixture
def work(ledger: Ledger, wait_for: WaitFor) -> Run:
    """`work("la")`: run the jobs of workers until the batch has ended. Return its items."""

    def work(batch_id: str) -> list[ItemRow]:
        def has_ended() -> bool:
            if not ledger.batches.is_loaded(batch_id):
                start(batch_id)
            for job in (sweep, submit, collect):
                job()
            wait_for_all()
            finish(batch_id)
            return ledger.batches.get(batch_id).status in BATCH_TERMINAL

        wait_for(has_ended, f"the end of {batch_id}")
        context().service.journal.flush()
        return list(ledger.items.stream(batch_id))

    return work


@pytest.fixture
def run(tmp_path: Path, work: Run) -> Run:
    """`run("la", 2)`: submit a batch of so many items, with more keys of the manifest, and work until it has ended."""

    def run(batch_id: str, items: int, more: str = "", image: str = "face.jpg") -> list[ItemRow]:
        result = dailies("submit", a_file(tmp_path, items, more, image), "--batch-id", batch_id)
        assert result.exit_code == 0, result.output
        return work(batch_id)

    return run


def reused(rows: list[ItemRow]) -> list[str | None]:
    return [row.reused_from for row in rows]


def test_eleven_items_of_which_ten_were_bought_cost_one_run(
    tmp_path: Path, run: Run, work: Run, ledger: Ledger, storage: Storage, bucket: str, sandbox: Sandbox
) -> None:
    bought = run("first", 10)
    file = a_file(tmp_path, 11)
    dry = dailies("submit", file, "--reuse", "--dry-run")
    assert "Estimated cost: $0.09, at $0.09 per run. 10 of 11 items are reused, which saves $0.90." in " ".join(
        dry.stdout.split()
    )
    # Eleven runs are above the ceiling of the batch less the one that is bought.
    assert dailies("submit", file, "--reuse", "--batch-id", "second").exit_code == 0
    rows = work("second")
    assert reused(rows) == [*(f"first/i{n}" for n in range(10)), None]
    assert [str(row.cost_usd) for row in rows] == ["0"] * 10 + ["0.09"]
    assert [row.task_id for row in rows[:10]] == [row.task_id for row in bought]
    for copy, original in zip(rows, bought, strict=False):
        (output,), (source,) = copy.outputs, original.outputs
        assert output.uri.startswith(f"{bucket}out/second/items/{copy.id}/")
        assert storage.get(output.uri) == storage.get(source.uri)
        assert (output.sha256, output.content_type) == (source.sha256, source.content_type)
    batch = ledger.batches.get("second")
    assert (str(batch.cost_usd), batch.reused) == ("0.09", 10)
    assert ledger.counters.read().reused == 10
    document = json.loads(storage.get(f"{bucket}out/second/results.json") or b"")
    assert [item.get("reused_from") for item in document["items"]] == reused(rows)
    assert "first/i9" in (storage.get(f"{bucket}out/second/results.csv") or b"").decode()
    assert "10 items" in dailies("status", "second").stdout
    assert "reused from first/i0" in " ".join(dailies("items", "second").stdout.split())


def test_without_the_key_nothing_is_reused(run: Run) -> None:
    run("first", 1)
    assert reused(run("second", 1)) == [None]


def test_the_ceiling_and_the_budget_count_only_what_is_bought(run: Run) -> None:
    run("first", 10)
    rows = run("second", 14, 'reuse: true\nlimits: {budget_usd: "0.36"}\n')
    assert [row.status for row in rows] == ["succeeded"] * 14, "14 runs are above the ceiling of 1 USD, 4 are not"


def test_an_output_that_is_gone_is_bought_again(run: Run, storage: Storage, ledger: Ledger) -> None:
    (bought,) = run("first", 1)
    storage.delete(bought.outputs[0].uri)
    (row,) = run("second", 1, "reuse: true\n")
    assert (row.status, row.reused_from, str(row.cost_usd)) == ("succeeded", None, "0.09")
    assert reused(run("third", 1, "reuse: true\n")) == ["second/i0"]


def test_a_rejected_take_is_not_reused_until_the_rejection_is_taken_back(run: Run) -> None:
    run("first", 1)
    reviews = context().service.reviews
    reviews.review("first", "i0", Review("rejected"))
    assert reused(run("second", 1, "reuse: true\n")) == [None]
    reviews.review("second", "i0", Review("rejected"))
    reviews.review("first", "i0", None)
    assert reused(run("third", 1, "reuse: true\n")) == ["first/i0"]
    reviews.review("third", "i0", Review("rejected"))
    assert reused(run("fourth", 1, "reuse: true\n")) == [None], "a rejected copy rejects the original"


def test_the_model_is_compared_without_case(run: Run) -> None:
    run("first", 1)
    spelled = "reuse: true\nmodel: MiniMax/Image-to-Video-Hailuo-01-Subject\n"
    assert reused(run("second", 1, spelled)) == ["first/i0"]


def test_an_image_is_its_content_whatever_its_name(run: Run, tmp_path: Path) -> None:
    run("first", 1)
    (tmp_path / "other.jpg").write_bytes(an_image(1))
    assert reused(run("second", 1, "reuse: true\n", image="other.jpg")) == ["first/i0"]
    (tmp_path / "third.jpg").write_bytes(an_image(2))
    assert reused(run("third", 1, "reuse: true\n", image="third.jpg")) == [None]


def test_an_object_on_s3_that_has_changed_is_run(run: Run, storage: Storage, bucket: str) -> None:
    image = f"{bucket}in/face.jpg"
    storage.put(image, an_image(1), "image/jpeg")
    run("first", 2, image=image)
    assert reused(run("second", 2, "reuse: true\n", image=image)) == ["first/i0", "first/i1"]
    storage.put(image, an_image(2), "image/jpeg")
    assert reused(run("third", 2, "reuse: true\n", image=image)) == [None, None]


def test_equal_items_of_a_batch_are_takes_and_reuse_different_outputs(
    tmp_path: Path, work: Run, storage: Storage
) -> None:
    (tmp_path / "face.jpg").write_bytes(an_image(1))
    file, item = tmp_path / "takes.yaml", "- {image: face.jpg, prompt: p}\n"
    for batch_id, takes in (("first", 2), ("second", 3)):
        file.write_text(f"version: 1\nname: la\nreuse: true\nitems:\n{item * takes}")
        assert dailies("submit", str(file), "--batch-id", batch_id).exit_code == 0
        rows = work(batch_id)
    assert len({source for source in reused(rows) if source}) == 2
    assert reused(rows).count(None) == 1


def test_another_take_of_a_reused_item_is_a_run(run: Run, work: Run) -> None:
    run("first", 1)
    run("second", 1, "reuse: true\n")
    context().service.reviews.create_take("second", "i0", "p0")
    assert reused(work("second")) == ["first/i0", None]


def test_a_worker_that_crashes_after_the_copy_neither_loses_nor_buys_the_item(
    run: Run, tmp_path: Path, ledger: Ledger, work: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("first", 1)
    monkeypatch.setenv("PIPELINE_LEASE_S", "1")
    context.cache_clear()
    copies = 0

    def crash(*args: Any) -> Any:
        nonlocal copies
        copies += 1
        result = copy_stored(*args)
        if copies == 1:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(reuse, "copy_stored", crash)
    assert dailies("submit", a_file(tmp_path, 1, "reuse: true\n"), "--batch-id", "second").exit_code == 0
    start("second")
    (lease,) = ledger.runs.claim_due(1, lease_s=0).runs
    assert lease.source
    with pytest.raises(KeyboardInterrupt):
        reuse.copy_bought(context(), lease, lease.source)
    (row,) = work("second")
    assert (row.reused_from, row.status, str(row.cost_usd), copies) == ("first/i0", "succeeded", "0", 2)
    assert ledger.batches.get("second").reused == 1


def test_a_lost_redis_is_rebuilt_and_nothing_is_bought_again(
    run: Run, tmp_path: Path, ledger: Ledger, storage: Storage, bucket: str, work: Run
) -> None:
    run("first", 3)
    assert dailies("submit", a_file(tmp_path, 3, "reuse: true\n"), "--batch-id", "second").exit_code == 0
    start("second")
    ledger.redis.flushall()
    assert dailies("recover", f"{bucket}out/second/").exit_code == 0
    assert reused(work("second")) == ["first/i0", "first/i1", "first/i2"]
    assert str(ledger.batches.get("second").cost_usd) == "0"
    ledger.redis.flushall()
    assert dailies("recover", f"{bucket}out/second/").exit_code == 0
    assert reused(work("second")) == ["first/i0", "first/i1", "first/i2"]
    assert not ledger.redis.exists(REUSABLE), "whether the originals were rejected is not known"
    assert dailies("recover", f"{bucket}out/first/").exit_code == 0
    assert reused(run("third", 3, "reuse: true\n")) == ["first/i0", "first/i1", "first/i2"]


def test_reindex_finds_what_was_bought_and_passes_over_damaged_results(
    run: Run, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    run("first", 2)
    context().service.reviews.review("first", "i1", Review("rejected"))
    finish("first")
    storage.put(f"{bucket}out/broken/results.jsonl", b"{\n", "application/x-ndjson")
    ledger.redis.flushall()
    result = dailies("reindex")
    assert (result.exit_code, "1 output of 1 batch can be reused." in result.stdout) == (1, True)
    assert "broken: its results cannot be read" in " ".join(result.stderr.split())
    assert reused(run("second", 2, "reuse: true\n")) == ["first/i0", None]


def test_a_paused_account_does_not_stop_what_costs_nothing(run: Run, ledger: Ledger) -> None:
    run("first", 2)
    ledger.account.pause("Paused by hand.")
    assert reused(run("second", 2, "reuse: true\n")) == ["first/i0", "first/i1"]


def archive(ledger: Ledger, storage: Storage, *batch_ids: str) -> None:
    for batch_id in batch_ids:
        Retention(ledger, storage, keep_days=1e-9).archive(batch_id)
        assert ledger.batches.get(batch_id).archived


def test_outputs_can_be_reused_as_long_as_a_copy_of_them_is_in_redis(
    run: Run, ledger: Ledger, storage: Storage
) -> None:
    run("first", 2)
    context().service.reviews.review("first", "i1", Review("rejected"))
    finish("first")
    rows = run("second", 2, "reuse: true\n")
    assert reused(rows) == ["first/i0", None]
    archive(ledger, storage, "first")
    assert reused(run("third", 2, "reuse: true\n")) == ["first/i0", "second/i1"]
    archive(ledger, storage, "second", "third")
    assert not ledger.redis.exists(REUSABLE), "what they bought has left with them"
    batch = ledger.batches.get("second")
    assert batch.reused == 1
    assert [item_document(row) for row in context().service.items.stream(batch)] == [item_document(row) for row in rows]
    for batch_id in ("first", "second"):
        context().service.recovery.restore(batch_id)
    assert ledger.batches.get("second").reused == 1
    assert [item_document(row) for row in ledger.items.stream("second")] == [item_document(row) for row in rows]
    assert not ledger.redis.exists(REUSABLE)
    assert dailies("reindex").exit_code == 0
    assert reused(run("fourth", 2, "reuse: true\n")) == ["first/i0", "second/i1"], "the rejected one did not come back"


def test_a_forgotten_copy_leaves_the_original_in_the_index(run: Run, ledger: Ledger, storage: Storage) -> None:
    run("first", 1)
    run("second", 1, "reuse: true\n")
    context().service.retention.forget("second")
    assert reused(run("third", 1, "reuse: true\n")) == ["first/i0"]


@pytest.mark.parametrize("rejected", ["first", "second"])
@pytest.mark.parametrize("is_archived", [False, True])
def test_rejected_outputs_do_not_come_back_through_a_copy(
    run: Run, ledger: Ledger, storage: Storage, rejected: str, is_archived: bool
) -> None:
    reviews = context().service.reviews
    run("first", 1)
    run("second", 1, "reuse: true\n")
    run("third", 1, "reuse: true\n")
    reviews.review(rejected, "i0", Review("rejected"))
    finish(rejected)
    if is_archived:
        archive(ledger, storage, rejected)
    reviews.review("third", "i0", Review("approved"))
    assert reused(run("fourth", 1, "reuse: true\n")) == [None]


def test_reindex_adds_nothing_that_was_rejected_after_the_results_were_written(run: Run, ledger: Ledger) -> None:
    run("first", 2)
    run("second", 2, "reuse: true\n")
    context().service.reviews.review("first", "i0", Review("rejected"))
    context().service.reviews.review("second", "i1", Review("rejected"))
    assert dailies("reindex").exit_code == 0
    assert reused(run("third", 2, "reuse: true\n")) == [None, None]


def test_outputs_of_which_one_is_gone_leave_no_copies_of_the_others(storage: Storage, bucket: str) -> None:
    outputs = [Output(f"{bucket}a/{number}.mp4", "video/mp4", 1, "") for number in range(2)]
    storage.put(outputs[0].uri, b"v", "video/mp4")
    assert copy_stored(storage, f"{bucket}b/", "i0", outputs) is None
    assert not list(storage.list(f"{bucket}b/"))


def test_an_output_that_only_seems_to_be_gone_is_not_bought_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    (bought,) = run("first", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "copy", lambda *_: False)
        with pytest.raises(StorageError, match="exists, but S3 did not copy it"):
            copy_stored(storage, "s3://bucket/second/", "i0", bought.outputs)


def test_a_retried_item_is_looked_up_again(run: Run, work: Run, tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.change(fail=1)
    (row,) = run("second", 1, "reuse: true\nlimits: {attempts: 1}\n")
    assert row.status == "failed"
    sandbox.change(fail=0)
    run("first", 1)
    assert dailies("retry", "second").exit_code == 0
    (row,) = work("second")
    assert (row.status, row.reused_from) == ("succeeded", "first/i0")


def test_the_api_estimates_only_what_is_bought(run: Run, storage: Storage) -> None:
    (bought,) = run("first", 1)
    settings = load().model_copy(update={"api_token": SecretStr(TOKEN), "secret": SecretStr("s" * 32)})
    client = create_app(settings).test_client()
    items = [{"image": bought.image, "prompt": prompt} for prompt in ("p0", "new")]
    manifest = {"version": 1, "name": "la", "reuse": True, "items": items}
    response = client.post("/api/v1/estimate", json=manifest, headers=BEARER)
    estimate = response.get_json()
    assert (estimate["high_usd"], estimate["reused"], estimate["saved_usd"]) == ("0.09", 1, "0.09"), estimate
    assert "dailies_reused_items_total 0.0" in client.get("/metrics", headers=BEARER).get_data(as_text=True)


def test_a_dry_run_without_redis_shows_what_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    result = dailies("submit", a_file(tmp_path, 1), "--reuse", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "Which outputs are reused is not known" in result.stderr
    assert "Estimated cost: $0.09" in result.stdout


def test_init_writes_the_key(tmp_path: Path) -> None:
    assert "reuse: true" in dailies("init", a_file(tmp_path, 1), "--reuse").stdout
    assert "reuse" not in dailies("init", a_file(tmp_path, 1)).stdout
