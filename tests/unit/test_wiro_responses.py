"""Responses of the vendor in every shape, valid or not."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.wiro.callbacks import parse_callback
from pipeline.wiro.errors import NoResponse, NotFound, TaskNotFound, WiroError
from pipeline.wiro.model_price import estimate_price
from pipeline.wiro.model_schema import parse_model_schema
from pipeline.wiro.progress_message import parse_progress
from pipeline.wiro.refusals import refusal
from pipeline.wiro.responses import Run, parse_document, parse_file_url, parse_folder, parse_run, parse_tool
from pipeline.wiro.tasks import Task, parse_task, parse_tasks

PARAMETER = ("id", "type", "label", "required", "default", "options", "min", "max", "step", "items")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def a_task(**fields: Any) -> dict[str, Any]:
    return {
        "id": "2221",
        "socketaccesstoken": "tok",
        "status": "task_postprocess_end",
        "pexit": "0",
        "totalcost": "0.003510000000",
        "elapsedseconds": "6.0000",
        "createtime": "1734513809",
        "starttime": "0",
        "categories": '["a",b,]',
        "outputs": [
            {"name": "0.mp4", "contenttype": "video/mp4", "size": "202472", "url": "https://cdn1.wiro.ai/0.mp4"}
        ],
        **fields,
    }


def the_task(document: Any, token: str = "tok", task_id: str = "") -> Task:
    parsed = parse_document(json.dumps(document).encode())
    assert parsed is not None
    return parse_task(parsed, token=token, task_id=task_id)


def task(**fields: Any) -> Task:
    return the_task({"tasklist": [a_task(**fields)]})


def test_numbers_in_strings_are_parsed() -> None:
    done = task()
    assert done.cost_usd == Decimal("0.00351")
    assert done.elapsed_s == Decimal(6)
    assert done.created == datetime(2024, 12, 18, 9, 23, 29, tzinfo=UTC)
    assert done.started is None
    assert done.outputs[0].size == 202472
    assert done.succeeded and done.ended and not done.cancelled and not done.queued


@pytest.mark.parametrize(
    "wrap",
    [
        lambda it: {"total": "1", "errors": [], "result": True, "tasklist": [it]},
        lambda it: {"data": {"tasklist": [it]}},
        lambda it: {"data": it, "result": True},
        lambda it: {"data": [it]},
        lambda it: {"tasklist": it},
        lambda it: it,
    ],
)
def test_a_task_is_found_in_every_wrapper(wrap: Any) -> None:
    assert the_task(wrap(a_task())) == task()


VIDEO = {"name": "0.mp4", "url": "https://cdn1.wiro.ai/0.mp4"}


@pytest.mark.parametrize(
    ("pexit", "outputs", "succeeded"),
    [
        ("0", [VIDEO], True),
        (0, [VIDEO], True),
        ("0", [], True),
        ("1", [VIDEO], False),
        ("137", [], False),
        (None, [VIDEO], True),
        ("", [VIDEO], True),
        (None, [], False),
        (None, None, False),
    ],
)
def test_success_is_an_exit_of_0_or_outputs_without_an_exit_code(
    pexit: object, outputs: object, succeeded: bool
) -> None:
    assert task(pexit=pexit, outputs=outputs, totalcost="0.09").succeeded is succeeded


def test_the_sample_of_the_model_page_without_exit_code_and_cost_is_a_success() -> None:
    sample = a_task()
    del sample["pexit"], sample["totalcost"]
    done = the_task({"tasklist": [sample]})
    assert done.succeeded
    assert done.cost_usd is None


def test_a_task_without_exit_code_and_outputs_is_described_as_such() -> None:
    assert "without an exit code" in task(pexit=None, outputs=[]).failure_reason


@pytest.mark.parametrize("status", ["task_end", "task_error", "task_output_full", "task_new_thing", None, 7, ""])
def test_every_other_status_counts_as_active(status: object) -> None:
    assert not task(status=status).ended


def test_a_cancelled_task_has_ended_without_success() -> None:
    cancelled = task(status="task_cancel", pexit=None)
    assert cancelled.ended and cancelled.cancelled and not cancelled.succeeded
    assert cancelled.failure_reason == "The task was cancelled."


def test_the_failure_reason_is_the_last_line_of_stderr() -> None:
    assert (
        task(pexit="1", debugerror="one\n\x1b[31mValueError: no face\n\n").failure_reason == "�[31mValueError: no face"
    )
    assert task(pexit="3", debugerror=None).failure_reason == "The task failed (pexit 3)."
    assert len(task(pexit="1", debugerror="x" * 9999).failure_reason) == 500


@pytest.mark.parametrize(
    "cost", [None, "", "free", "NaN", "Infinity", "-1", "1e999999", "1e-999999", "9" * 100, [], {}, True]
)
def test_an_invalid_cost_is_unknown(cost: object) -> None:
    assert task(totalcost=cost).cost_usd is None


def test_a_task_that_cost_nothing_has_a_known_cost() -> None:
    assert task(totalcost="0").cost_usd == Decimal(0)


def test_a_cost_that_is_a_json_number_is_a_decimal() -> None:
    document = parse_document(b'{"tasklist": [{"status": "task_postprocess_end", "totalcost": 0.1}]}')
    assert document is not None
    assert parse_task(document, token="t", task_id="").cost_usd == Decimal("0.1")


@pytest.mark.parametrize("time", ["0", None, "", "yesterday", "-5", "9" * 18, "99999999999999"])
def test_an_invalid_time_is_none(time: object) -> None:
    assert task(createtime=time).created is None


def test_text_models_return_content_instead_of_a_file() -> None:
    outputs = task(
        outputs=[{"contenttype": "raw", "content": "hello"}, {"contenttype": "raw", "content": {"a": 1}}]
    ).outputs
    assert [(output.content, output.url) for output in outputs] == [("hello", ""), ({"a": 1}, "")]


def test_a_structured_answer_is_kept_as_json_and_its_text_beside_it() -> None:
    content = {"prompt": "p", "answer": ["Hello"], "usage": {"seconds": 0.5}}
    done = task(outputs=[{"contenttype": "raw", "content": content}], debugoutput="Hello")
    assert json.loads(json.dumps(done.outputs[0].content)) == content
    assert done.text == "Hello"


@pytest.mark.parametrize("sent", [{"prompt": "p", "scale": 0.5}, '{"prompt": "p", "scale": 0.5}'])
def test_parameters_are_an_object_or_json_in_a_string(sent: object) -> None:
    assert task(parameters=sent).parameters == {"prompt": "p", "scale": 0.5}


@pytest.mark.parametrize("sent", [None, "", "{", "[]", 7, []])
def test_invalid_parameters_are_none(sent: object) -> None:
    assert task(parameters=sent).parameters == {}


def test_the_model_of_a_task_has_no_case() -> None:
    assert task(modelslugowner="MiniMax", modelslugproject="Virtual Try-On").model == "minimax/virtual-try-on"
    assert task(modelslugowner=None, modelslugproject="x").model == ""


@pytest.mark.parametrize("categories", ['["a",b,]', ["a", "b"], None, {}])
def test_a_listing_keeps_its_tasks_and_shows_that_other_rows_cannot_be_read(categories: object) -> None:
    rows = [a_task(categories=categories), None, 7, {}, {"id": None, "status": None}, dict.fromkeys(a_task())]
    assert [row.id or row.token for row in parse_tasks({"tasklist": rows})] == ["2221", "", "", "", "", ""]


def test_a_listing_may_be_empty_but_must_be_one() -> None:
    assert parse_tasks({"tasklist": [], "total": "0"}) == []
    others: list[dict[str, Any]] = [{"total": None}, {"status": "ok"}, {"tasklist": "none"}, {"tasklist": {}}]
    for other in others:
        with pytest.raises(NoResponse):
            parse_tasks(other)


@pytest.mark.parametrize("outputs", [None, "", {}, [None, 3, {}, {"url": None}, {"name": "x"}]])
def test_invalid_outputs_are_skipped(outputs: object) -> None:
    assert task(outputs=outputs).outputs == ()


def test_a_response_about_another_task_is_rejected() -> None:
    with pytest.raises(NoResponse, match="another task"):
        the_task({"tasklist": [a_task()]}, token="other")
    with pytest.raises(NoResponse, match="another task"):
        the_task({"tasklist": [a_task()]}, token="", task_id="99")
    assert the_task({"tasklist": [a_task(), a_task(socketaccesstoken="other", id="5")]}, token="other").id == "5"
    assert the_task({"tasklist": [{"status": "task_start"}]}, token="tok") == Task(
        "", "tok", "task_start", "", None, None, None, None, None, "", (), "The task failed (pexit unknown)."
    )


def test_an_empty_list_means_task_not_found() -> None:
    with pytest.raises(TaskNotFound):
        the_task({"total": "0", "errors": [], "result": True, "tasklist": []})


@pytest.mark.parametrize(
    ("body", "run"),
    [
        ({"errors": [], "taskid": "2221", "socketaccesstoken": "eDcC", "result": True}, Run("2221", "eDcC")),
        ({"data": {"taskid": 2221, "socketaccesstoken": "eDcC"}, "result": True}, Run("2221", "eDcC")),
        ({"taskid": "2221"}, Run("2221", "")),
        ({"socketaccesstoken": "eDcC"}, Run("", "eDcC")),
        ({"taskid": "0", "socketaccesstoken": None}, None),
        ({"taskid": "a b", "socketaccesstoken": "\n"}, None),
        ({"taskid": True}, None),
        ({"taskid": "x" * 300}, None),
        ({}, None),
    ],
)
def test_a_run_has_an_id_or_a_token(body: dict[str, Any], run: Run | None) -> None:
    document = parse_document(json.dumps(body).encode())
    assert document is not None
    assert parse_run(document) == run


def test_a_model_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFound, match="a/b"):
        parse_tool({"tool": []}, "a/b")
    for value in ({}, {"tool": None}, {"tool": [None]}, {"tool": "x"}):
        with pytest.raises(NoResponse):
            parse_tool(value, "a/b")


def test_folders_and_files_need_an_id_or_a_url() -> None:
    assert parse_folder({"list": [{"id": "70001"}]}) == "70001"
    assert parse_file_url({"list": [{"url": "https://files.wiro.ai/x"}]}) == "https://files.wiro.ai/x"
    invalid: list[dict[str, Any]] = [
        {},
        {"list": []},
        {"list": [None]},
        {"list": [{"id": None, "url": "file:///etc/passwd"}]},
    ]
    for value in invalid:
        with pytest.raises(NoResponse):
            parse_folder(value)
        with pytest.raises(NoResponse):
            parse_file_url(value)


@pytest.mark.parametrize(
    "shape",
    [
        a_task(),
        {"total": "1", "tasklist": [a_task()]},
        {"data": a_task()},
        {"data": {"tasklist": [a_task()]}},
        [a_task()],
        {"taskid": 2221, "tasktoken": "tok", "status": "task_postprocess_end", "outputs": []},
        {"task": {"taskid": "2221", "socketaccesstoken": "tok", "status": "task_postprocess_end"}},
    ],
)
def test_a_callback_is_parsed_in_every_shape(shape: object) -> None:
    hint = parse_callback(json.dumps(shape).encode())
    assert (hint.task_id, hint.token, hint.status) == ("2221", "tok", "task_postprocess_end")


def test_a_truncated_callback_still_gives_its_token() -> None:
    whole = json.dumps({"tasklist": [a_task(taskid="2221")]}).encode()
    hint = parse_callback(whole[:-2])
    assert (hint.task_id, hint.token) == ("2221", "tok")
    assert parse_callback(whole[:20]).token == ""


@pytest.mark.parametrize(
    "body",
    [b"", b"done", b"null", b"[]", b"{}", b"\xff\xfe{", b"[" * 100_000, b"\x00" * 1_000_000, b'{"taskid": "a b"}'],
    ids=["empty", "text", "null", "list", "object", "utf16", "deep", "garbage", "spaces"],
)
def test_an_invalid_callback_gives_an_empty_hint(body: bytes) -> None:
    hint = parse_callback(body)
    assert (hint.task_id, hint.token, hint.status) == ("", "", "")


def test_progress_has_percentage_steps_and_outputs() -> None:
    fields = {"percentage": "50", "stepCurrent": "15", "stepTotal": "30", "remainingTime": "0.96"}
    message = parse_progress(json.dumps({"type": "task_output", "tasktoken": "t", "message": fields}), "t")
    assert message is not None
    assert (message.step, message.steps, message.remaining_s) == (15, 30, Decimal("0.96"))
    assert message.percentage == 50
    end = parse_progress(json.dumps({"type": "task_postprocess_end", "message": [{"url": "https://x/0"}]}), "t")
    assert end is not None and end.ended and end.outputs[0].url == "https://x/0"
    early = parse_progress(json.dumps({"type": "task_end", "message": None}), "t")
    assert early is not None and not early.ended
    assert parse_progress(json.dumps({"type": "task_end", "tasktoken": "other"}), "t") is None
    assert parse_progress("{", "t") is None


@given(JSON)
def test_no_document_breaks_the_parsers(value: object) -> None:
    spread = dict.fromkeys(("data", "tasklist", "tool", "list", "errors", "result", "taskid", "message", "type"), value)
    task_fields = dict.fromkeys(a_task(), value)
    shapes = (
        value,
        spread,
        task_fields,
        {"tasklist": [task_fields]},
        {"tool": [{"dynamicprice": value, "parameters": value}]},
        {"tool": [{"dynamicprice": [{"inputs": value, "price": 1}], "parameters": [dict.fromkeys(PARAMETER, value)]}]},
    )
    for shape in shapes:
        body = json.dumps(shape).encode()
        parse_callback(body)
        parse_progress(body, "t")
        document = parse_document(body)
        refusal(200, {}, document, datetime(2026, 1, 1, tzinfo=UTC))
        if document is not None:
            _parse_everything(document)


def _parse_everything(document: dict[str, Any]) -> None:
    parse_run(document)
    for parse in (
        lambda: parse_task(document, token="t", task_id=""),
        lambda: parse_tasks(document),
        lambda: _parse_model(document),
        lambda: parse_folder(document),
        lambda: parse_file_url(document),
    ):
        with suppress(WiroError):
            parse()


def _parse_model(document: dict[str, Any]) -> None:
    schema = parse_model_schema(parse_tool(document, "a/b"), "a/b")
    estimate_price(schema, {"a": 1}, "p", 1)
    assert isinstance(schema.image_fields, tuple)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parsers(body: bytes) -> None:
    parse_callback(body)
    parse_progress(body, "t")
    parse_document(body)
