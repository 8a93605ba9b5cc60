"""The client against the sandbox, over HTTP and WebSocket."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.sandbox.process_handle import Sandbox
from pipeline.wiro.client import FileSource, ImageField, Run, RunImage, Task, Wiro
from pipeline.wiro.errors import (
    InsufficientBalance,
    Invalid,
    NoResponse,
    NotAuthorized,
    NotFound,
    RateLimited,
    TaskNotFound,
    TooManyTasks,
    VendorFault,
)

MODEL = "minimax/image-to-video-hailuo-01-subject"
PORTRAIT = Path(__file__).parents[2] / "config" / "samples" / "portrait.jpg"


@pytest.fixture
def wiro(sandbox: Sandbox) -> Iterator[Wiro]:
    client = Wiro(sandbox.url, sandbox.key, sandbox.secret, socket_url=sandbox.socket_url)
    yield client
    client.close()


def portrait() -> FileSource:
    return FileSource("portrait.jpg", "image/jpeg", PORTRAIT.stat().st_size, lambda: PORTRAIT.open("rb"))


def a_run(
    wiro: Wiro,
    prompt: str = "she smiles",
    *,
    url: str | None = "http://x/y",
    file: FileSource | None = None,
    callback_url: str | None = None,
) -> Run:
    image = RunImage(ImageField("inputImageFirst", "fileinput"), None if file else url, file)
    return wiro.run(MODEL, {"prompt": prompt}, image=image, callback_url=callback_url)


def ended(wiro: Wiro, run: Run, wait_for: Any) -> Task:
    wait_for(lambda: wiro.task(token=run.token).ended, "the task's end")
    return wiro.task(token=run.token)


def test_a_file_becomes_a_video(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    run = a_run(wiro, file=portrait(), callback_url="http://127.0.0.1:1/here")
    task = ended(wiro, run, wait_for)
    assert (task.id, task.token, task.succeeded, task.cost_usd) == (run.task_id, run.token, True, Decimal("0.09"))
    assert task.callback_url == "http://127.0.0.1:1/here"
    assert task.elapsed_s is not None and task.created is not None and task.created.tzinfo is not None
    assert [(output.name, output.content_type) for output in task.outputs] == [("0.mp4", "video/mp4")]
    assert sandbox.tasks()[0]["image_sha256"] == hashlib.sha256(PORTRAIT.read_bytes()).hexdigest()


def test_an_uploaded_file_can_be_an_input(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    url = wiro.upload(portrait(), wiro.create_folder("a-batch_1"))
    task = ended(wiro, a_run(wiro, url=url), wait_for)
    assert task.succeeded
    assert sandbox.tasks()[0]["image_sha256"] == hashlib.sha256(PORTRAIT.read_bytes()).hexdigest()


def test_a_large_file_is_streamed(wiro: Wiro, sandbox: Sandbox) -> None:
    data = bytes(range(256)) * 40_000
    a_run(wiro, file=FileSource("x.bin", "", len(data), lambda: io.BytesIO(data)))
    assert sandbox.tasks()[0]["image_sha256"] == hashlib.sha256(data).hexdigest()


def test_a_model_without_images_takes_json_and_returns_text(wiro: Wiro, wait_for: Any) -> None:
    run = wiro.run("acme/some-llm", {"prompt": "hello", "temperature": 0.5, "stop": ["a", "b"]})
    output = ended(wiro, run, wait_for).outputs[0]
    assert (output.content_type, output.url) == ("raw", "")
    assert "You said: hello" in str(output.content)


def test_a_failed_task_has_a_reason_and_costs_nothing(wiro: Wiro, wait_for: Any) -> None:
    task = ended(wiro, a_run(wiro, "#fail", file=portrait()), wait_for)
    assert task.ended and not task.succeeded
    assert "face could not be found" in task.failure_reason
    assert task.cost_usd == 0


def test_a_queued_task_is_cancelled_and_a_running_one_is_killed(wiro: Wiro, sandbox: Sandbox) -> None:
    sandbox.change(queue_s=60)
    queued = a_run(wiro)
    assert wiro.task(token=queued.token).queued
    with pytest.raises(NotFound):
        wiro.kill(queued.task_id, queued.token)
    wiro.cancel(queued.task_id, queued.token)
    sandbox.change(queue_s=0, task_s=60)
    running = a_run(wiro)
    with pytest.raises(NotFound):
        wiro.cancel(running.task_id, running.token)
    wiro.kill(running.task_id, "")
    assert wiro.task(task_id=queued.task_id).cancelled
    assert wiro.task(task_id=running.task_id).cancelled
    assert sandbox.stats()["active"] == 0


def test_files_at_the_vendor_can_be_deleted_twice(wiro: Wiro, wait_for: Any) -> None:
    run = wiro.run("acme/some-llm", {"prompt": "hello"})
    ended(wiro, run, wait_for)
    wiro.delete_files(run.token)
    wiro.delete_files(run.token)
    assert wiro.task(token=run.token).outputs == ()


def test_a_model_schema_has_price_and_parameters(wiro: Wiro) -> None:
    tool = wiro.model_schema(MODEL)
    assert tool.per_run_usd == Decimal("0.09")
    assert [parameter.id for parameter in tool.parameters or ()] == ["inputImageFirst", "prompt"]
    assert tool.image_fields == (ImageField("inputImageFirst", "fileinput"),)
    with pytest.raises(NotFound):
        wiro.model_schema("acme/missing")


def test_messages_arrive_in_order_until_postprocessing_ends(wiro: Wiro) -> None:
    run = wiro.run("acme/some-llm", {"prompt": "hello"})
    types = [message.status for message in wiro.progress(run.token)]
    assert types[-1] == "task_postprocess_end"
    assert types.index("task_end") < types.index("task_postprocess_start")


def test_a_silent_message_stream_fails(wiro: Wiro, sandbox: Sandbox) -> None:
    sandbox.change(queue_s=60)
    run = wiro.run("acme/some-llm", {"prompt": "hello"})
    with pytest.raises(NoResponse):
        list(wiro.progress(run.token, silence_s=0.2))


def test_the_messages_of_an_unknown_task_are_not_found(wiro: Wiro) -> None:
    with pytest.raises(NotFound, match="no task yet"):
        list(wiro.progress("unknown", silence_s=2))


def test_an_unknown_task_is_not_found(wiro: Wiro) -> None:
    for ids in ({"token": "unknown"}, {"task_id": "1"}, {}):
        with pytest.raises(TaskNotFound):
            wiro.task(**ids)


def test_an_invalid_parameter_is_rejected(wiro: Wiro) -> None:
    with pytest.raises(Invalid, match="prompt"):
        a_run(wiro, "")
    with pytest.raises(Invalid, match=r"Request files \[inputImageFirst\] required"):
        a_run(wiro, url=None)


def test_too_many_tasks_reports_the_allowed_number(wiro: Wiro, sandbox: Sandbox) -> None:
    sandbox.change(balance=25, task_s=60)
    for _ in range(2):
        a_run(wiro)
    for plain in (0, 1):
        sandbox.change(string_errors=plain)
        with pytest.raises(TooManyTasks) as refused:
            a_run(wiro)
        assert refused.value.allowed == 2


def test_without_balance_no_run_is_accepted(wiro: Wiro, sandbox: Sandbox) -> None:
    sandbox.change(balance=0)
    for plain in (0, 1):
        sandbox.change(string_errors=plain)
        with pytest.raises(InsufficientBalance):
            a_run(wiro)
    assert sandbox.stats()["runs"] == 0


def test_a_rate_limit_may_have_a_wait(wiro: Wiro, sandbox: Sandbox) -> None:
    sandbox.change(rate_limit=1)
    waits = set()
    for _ in range(20):
        with pytest.raises(RateLimited) as refused:
            a_run(wiro)
        waits.add(refused.value.retry_after_s)
    assert waits == {None, 1.0}


def test_a_server_error_of_the_vendor_is_not_a_lost_response(wiro: Wiro, sandbox: Sandbox) -> None:
    sandbox.change(server_error=1)
    for _ in range(12):
        with pytest.raises(VendorFault):
            a_run(wiro)
    assert {"500", "502", "503"} <= sandbox.stats()["refused"].keys()
    assert sandbox.stats()["runs"] == 0


def test_a_wrong_key_or_secret_is_reported_without_its_value(sandbox: Sandbox) -> None:
    for key, secret in (("wrong-key-xyz", sandbox.secret), (sandbox.key, "wrong-secret-xyz"), (sandbox.key, "")):
        with pytest.raises(NotAuthorized) as refused:
            Wiro(sandbox.url, key, secret).model_schema(MODEL)
        assert "xyz" not in str(refused.value)
        assert sandbox.key not in str(refused.value)


def test_without_a_key_nothing_is_sent(sandbox: Sandbox) -> None:
    with pytest.raises(NotAuthorized, match="WIRO_API_KEY"):
        Wiro(sandbox.url, "").model_schema(MODEL)
    assert sandbox.stats()["requests"] == {}


def test_many_threads_never_repeat_a_nonce(wiro: Wiro, sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(16) as pool:
        tools = list(pool.map(lambda _: wiro.model_schema(MODEL), range(200)))
    assert len(tools) == 200
    assert "auth" not in sandbox.stats()["refused"]
