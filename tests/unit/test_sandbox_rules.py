"""The rules of the sandbox that need no server."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.sandbox import documents
from pipeline.sandbox.account import Account, concurrency_limit
from pipeline.sandbox.auth import INVALID_SIGNATURE, NOT_SIGNED, UNKNOWN_KEY, Authenticator, sign
from pipeline.sandbox.errors import Refusal
from pipeline.sandbox.faults import FaultPlan, FaultRng, decide
from pipeline.sandbox.media_cache import BytesCache
from pipeline.sandbox.options import Options
from pipeline.sandbox.persistence import SandboxJournal
from pipeline.sandbox.prompt_faults import RUN_REFUSALS, named_in, run_refusal
from pipeline.sandbox.tasks import POSTPROCESS_END, STAGES, Ending, Product, SourceImage, Task, Timeline


def a_task(fault_plan: FaultPlan | None = None, ending: Ending | None = None) -> Task:
    return Task(
        id="2221",
        token="tok",
        uuid="u",
        model="minimax/image-to-video-hailuo-01-subject",
        params={"prompt": "smile"},
        prompt="smile",
        callback_url="",
        base_url="http://127.0.0.1:1",
        image=SourceImage(),
        fault_plan=fault_plan or FaultPlan(),
        timeline=Timeline(queued_at=1000.0, queue_s=1.0, run_s=10.0),
        ending=ending,
    )


def success() -> Ending:
    return Ending(1011.0, POSTPROCESS_END, "0", Decimal("0.09"), "", (Product("0.mp4", "video/mp4", 900),))


@pytest.mark.parametrize(
    ("balance", "limit"),
    [("0.09", 1), ("9.99", 1), ("19.99", 1), ("20", 2), ("50", 5), ("250", 25), ("250.01", None), ("1000", None)],
)
def test_a_small_balance_allows_one_active_task_per_10_usd(balance: str, limit: int | None) -> None:
    assert concurrency_limit(Decimal(balance)) == limit


def test_a_refusal_for_too_many_tasks_names_the_limit() -> None:
    account = Account(Decimal(50))
    for _ in range(5):
        account.admit(Decimal("0.09"))
    with pytest.raises(Refusal, match="up to 5 tasks at the same time") as refused:
        account.admit(Decimal("0.09"))
    assert refused.value.code == 96
    account.remove_active()
    account.admit(Decimal("0.09"))
    assert account.max_active_seen == 5


def test_a_balance_below_the_price_or_half_a_dollar_refuses_every_run() -> None:
    for balance, price in (("0.49", "0.09"), ("0.89", "0.90")):
        with pytest.raises(Refusal, match="Insufficient balance") as refused:
            Account(Decimal(balance)).admit(Decimal(price))
        assert refused.value.code == 97


def signed(nonce: str, key: str = "key", secret: str = "secret") -> dict[str, str]:
    return {"x-api-key": key, "x-nonce": nonce, "x-signature": sign(key, secret, nonce)}


def test_a_nonce_may_be_repeated_unless_the_sandbox_is_strict() -> None:
    authenticator = Authenticator(SecretStr("key"), SecretStr("secret"))
    assert [authenticator.rejection(signed("7")) for _ in range(2)] == [None, None]
    assert authenticator.rejection(signed("7"), strict_nonce=True) == INVALID_SIGNATURE
    assert authenticator.rejection(signed("8"), strict_nonce=True) is None


def test_wrong_credentials_are_rejected_with_the_vendors_sentences() -> None:
    authenticator = Authenticator(SecretStr("key"), SecretStr("secret"))
    assert authenticator.rejection(signed("7", key="other")) == UNKNOWN_KEY
    assert authenticator.rejection(signed("7", secret="other")) == INVALID_SIGNATURE
    assert authenticator.rejection({"x-api-key": "key"}) == NOT_SIGNED


def test_a_signature_as_openssl_prints_it_is_accepted() -> None:
    headers = signed("7")
    headers["x-signature"] = f"SHA2-256(stdin)= {headers['x-signature']}"
    assert Authenticator(SecretStr("key"), SecretStr("secret")).rejection(headers) is None


def test_a_project_without_a_secret_needs_the_key_only() -> None:
    assert Authenticator(SecretStr("key"), None).rejection({"x-api-key": "key"}) is None


def test_statuses_follow_the_vendors_order_and_time_alone_ends_no_task() -> None:
    timeline = Timeline(queued_at=0.0, queue_s=2.0, run_s=10.0)
    assert timeline.reached(1.0) == ("task_queue",)
    assert timeline.next_change(1.0) == 2.0
    assert timeline.reached(1e9) == ("task_queue", *(status for status, _ in STAGES))
    assert timeline.next_change(1e9) is None


def test_task_error_is_a_status_only_of_a_task_with_that_fault() -> None:
    seen = {plan: {a_task(plan).status(1001.0 + second / 10) for second in range(100)} for plan in
            (FaultPlan(), FaultPlan(task_error=True))}  # fmt: skip
    assert "task_error" not in seen[FaultPlan()]
    assert seen[FaultPlan(task_error=True)] - seen[FaultPlan()] == {"task_error"}


def test_a_task_document_writes_numbers_as_strings() -> None:
    document = documents.detail(a_task(ending=success()), 2000.0)
    assert document["totalcost"] == "0.09"
    assert document["elapsedseconds"] == "10.0000"
    assert document["createtime"] == "1000"
    assert document["canceltime"] == "0"
    assert document["outputs"][0]["size"] == "900"
    assert document["categories"] == ["tool", "image-to-video"]


def test_quoted_categories_are_not_json() -> None:
    document = documents.detail(a_task(), 2000.0, quoted_categories=True)
    with pytest.raises(ValueError):
        json.loads(document["categories"])


def test_a_task_can_lack_pexit_and_cost() -> None:
    document = documents.detail(a_task(FaultPlan(without_pexit=True), success()), 2000.0)
    assert not {"pexit", "totalcost"} & document.keys()
    assert len(document["outputs"]) == 1


def test_an_answer_in_text_is_an_object_and_debugoutput() -> None:
    ending = Ending(1011.0, POSTPROCESS_END, "0", Decimal(0), "", (Product("0.txt", "raw", text="Hello!"),))
    document = documents.detail(a_task(ending=ending), 2000.0)
    (output,) = document["outputs"]
    assert output["contenttype"] == "raw"
    assert (output["content"]["answer"], output["content"]["raw"]) == (["Hello!"], "Hello!")
    assert {"prompt", "thinking", "segments", "finishreason", "usage"} <= output["content"].keys()
    assert document["debugoutput"] == "Hello!"


def test_an_overlong_output_is_larger_than_its_stated_size() -> None:
    task = a_task(FaultPlan(overlong=True), success())
    assert documents.outputs(task)[0]["size"] == "600"


def test_an_expired_url_is_replaced_by_a_valid_one() -> None:
    task = a_task(FaultPlan(first_url_expired=True), success())
    assert documents.outputs(task)[0]["url"].endswith("?expired=1")
    task.expired_url_given = True
    (output,) = documents.outputs(task)
    assert output["url"] == f"http://127.0.0.1:1/cdn/2221/{output['accesskey']}/0.mp4"


def test_a_deleted_task_keeps_its_parameters_without_outputs() -> None:
    task = a_task(ending=success())
    task.deleted = True
    assert documents.detail(task, time.time())["outputs"] == []
    assert documents.detail(task, time.time())["parameters"] == {"prompt": "smile"}


def test_the_same_seed_gives_the_same_fault_plans() -> None:
    options = Options(fail=0.5, stuck=0.5, overlong=0.5)
    plans = [[decide(rng, options, "p") for _ in range(20)] for rng in (FaultRng(4), FaultRng(4))]
    assert plans[0] == plans[1]
    assert any(fault_plan.fails for fault_plan in plans[0]) and not all(fault_plan.fails for fault_plan in plans[0])


def test_faults_of_prompts_need_the_option() -> None:
    prompt = "run 429, cdn expired, a woman smiles"
    named = named_in(prompt)
    assert run_refusal(named, 1) == RUN_REFUSALS["run 429"]
    assert run_refusal(named, 2) is None
    assert decide(FaultRng(0), Options(), prompt, named).first_url_expired
    assert not decide(FaultRng(0), Options(), prompt).first_url_expired


def test_a_marked_prompt_always_fails() -> None:
    assert decide(FaultRng(0), Options(), "a woman #fail smiles").fails


def test_an_error_names_invalid_options_without_their_values() -> None:
    with pytest.raises(ValueError, match=r"fail: .*\nspeed: ") as wrong:
        Options().changed({"fail": 2, "speed": "hunter2"})
    assert "hunter2" not in str(wrong.value)
    with pytest.raises(ValueError, match="api_key"):
        Options().changed({"api_key": "hunter2"})


def test_public_options_contain_no_secrets() -> None:
    assert not {"api_key", "api_secret"} & Options().public().keys()


def test_the_docs_name_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    options = {name for name, field in Options.model_fields.items() if field.description}
    assert not [name for name in options if name not in page and name.replace("_", "-") not in page]


def test_the_least_recently_used_bytes_are_removed_first() -> None:
    cache: BytesCache[str] = BytesCache(10)
    cache.put("a", b"12345")
    cache.put("b", b"12345")
    assert cache.get("a")
    cache.put("c", b"1")
    assert cache.get("b") is None
    assert cache.get("a") == b"12345"


def test_a_journal_line_of_version_0_1_0_is_restored(tmp_path: Path) -> None:
    journal = SandboxJournal(tmp_path)
    journal.write_task(replace(a_task(), timeline=Timeline(time.time(), 1.0, 10.0), image=SourceImage("hash")))
    journal.close()
    file = tmp_path / "journal.jsonl"
    file.write_text(file.read_text().replace('"image":', '"picture":').replace('"fault_plan":', '"fate":'))
    (task,) = SandboxJournal(tmp_path).recorded.tasks.values()
    assert (task.id, task.image, task.fault_plan) == ("2221", SourceImage("hash"), FaultPlan())
