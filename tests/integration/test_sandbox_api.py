"""The sandbox answers as the vendor's documentation and its own clients expect, over HTTP."""

from __future__ import annotations

import json
import secrets
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
from support.waiting import WaitFor

from pipeline.sandbox.auth import sign
from pipeline.sandbox.process_handle import Sandbox

SUBJECT = "minimax/image-to-video-hailuo-01-subject"
SUSPENDED = "Your account has been suspended. Please contact support if you believe this is a mistake."
NO_PERMISSION = "You don't have any permission for this action."
http = urllib3.PoolManager(retries=False, timeout=30)


def post(
    sandbox: Sandbox, path: str, body: Any = None, *, content_type: str = "application/json", status: int = 200
) -> dict[str, Any]:
    nonce = secrets.token_hex(8)
    headers = {
        "x-api-key": sandbox.key,
        "x-nonce": nonce,
        "x-signature": sign(sandbox.key, sandbox.secret, nonce),
        "Content-Type": content_type,
    }
    data = body if isinstance(body, str) else json.dumps(body or {})
    response = http.request("POST", f"{sandbox.url}{path}", body=data.encode(), headers=headers)
    assert response.status == status
    document: dict[str, Any] = response.json()
    return document


def error(document: dict[str, Any]) -> tuple[int, str]:
    assert document["result"] is False
    return document["errors"][0]["code"], document["errors"][0]["message"]


def a_run(sandbox: Sandbox, prompt: str = "hello", model: str = "acme/animate", **fields: Any) -> dict[str, Any]:
    run = post(sandbox, f"/Run/{model}", {"prompt": prompt, **fields})
    assert run["result"] is True, run
    return run


def detail(sandbox: Sandbox, run: dict[str, Any]) -> dict[str, Any]:
    (task,) = post(sandbox, "/Task/Detail", {"tasktoken": run["socketaccesstoken"]})["tasklist"]
    assert isinstance(task, dict)
    return task


def ended(sandbox: Sandbox, run: dict[str, Any], wait_for: WaitFor) -> dict[str, Any]:
    wait_for(lambda: detail(sandbox, run)["status"] in ("task_postprocess_end", "task_cancel"), "the task's end")
    return detail(sandbox, run)


def test_tasks_are_listed_newest_first_in_pages(sandbox: Sandbox) -> None:
    sandbox.change(output_bytes=10)
    ids = [a_run(sandbox, str(n), callbackUrl=f"http://127.0.0.1:1/{n}")["taskid"] for n in range(5)]
    body = {"type": "model", "sort": "id", "order": "DESC", "start": "1", "limit": "2"}
    page = post(sandbox, "/Task/List", body)
    assert (page["result"], page["errors"], page["total"]) == (True, [], "5")
    assert [row["id"] for row in page["tasklist"]] == [ids[3], ids[2]]
    row = page["tasklist"][0]
    assert (row["callbackurl"], row["parameters"]) == ("http://127.0.0.1:1/3", {"prompt": "3"})
    assert {"socketaccesstoken", "status", "pexit", "createtime", "starttime", "totalcost"} <= row.keys()
    oldest_first = post(sandbox, "/Task/List", {**body, "order": "ASC", "start": 0})
    assert [row["id"] for row in oldest_first["tasklist"]] == ids[:2]


def test_a_list_can_be_limited_to_a_model(sandbox: Sandbox) -> None:
    wanted = a_run(sandbox, model="acme/some-llm")
    a_run(sandbox)
    page = post(sandbox, "/Task/List", {"type": "model", "start": "0", "limit": "20", "modelName": "Some-LLM"})
    assert (page["total"], [row["id"] for row in page["tasklist"]]) == ("1", [wanted["taskid"]])


def test_a_run_whose_answer_was_lost_is_in_the_list(sandbox: Sandbox) -> None:
    sandbox.change(lose_answers=1)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        a_run(sandbox, "lost")
    (row,) = post(sandbox, "/Task/List", {"type": "model"})["tasklist"]
    assert row["parameters"] == {"prompt": "lost"}


def test_a_list_can_be_refused_or_lack_callback_urls(sandbox: Sandbox) -> None:
    run = a_run(sandbox, callbackUrl="http://127.0.0.1:1/")
    sandbox.change(list_without_callbackurl=True)
    (row,) = post(sandbox, "/Task/List")["tasklist"]
    assert "callbackurl" not in row
    assert detail(sandbox, run)["callbackurl"] == "http://127.0.0.1:1/"
    sandbox.change(list_refused=True)
    assert error(post(sandbox, "/Task/List")) == (0, NO_PERMISSION)


def test_models_are_listed_and_described(sandbox: Sandbox) -> None:
    page = post(sandbox, "/Tool/List", {"start": "0", "limit": "20", "search": "hailuo", "categories": []})
    assert (page["total"], page["tool"][0]["cleanslugproject"]) == ("1", SUBJECT.partition("/")[2])
    assert int(post(sandbox, "/Tool/List", {"limit": "2"})["total"]) > 2
    assert len(post(sandbox, "/Tool/Explore")["explore"][0]["tools"]) > 2
    (tool,) = post(sandbox, "/Tool/Detail", {"slugowner": "ACME", "slugproject": "Video-Tiers"})["tool"]
    assert tool["categories"] == ["tool", "image-to-video"]
    assert len(json.loads(tool["dynamicprice"])) == 4
    items = {item["id"]: item for group in tool["parameters"] for item in group["items"]}
    assert (items["strength"]["type"], items["strength"]["min"], items["strength"]["max"]) == ("range", 0, 1)
    assert [option["value"] for option in items["style"]["options"]] == ["film", "cartoon"]
    (undescribed,) = post(sandbox, "/Tool/Detail", {"slugowner": "acme", "slugproject": "undescribed"})["tool"]
    assert (undescribed["parameters"], undescribed["dynamicprice"]) == (None, None)
    assert Decimal(undescribed["approximatelycost"]) == Decimal("0.12")
    sandbox.change(quoted_categories=True)
    assert isinstance(post(sandbox, "/Tool/List")["tool"][0]["categories"], str)
    missing = post(sandbox, "/Tool/Detail", {"slugowner": "acme", "slugproject": "missing"})
    assert error(missing) == (1, "slug-owner-project-not-exist")


def test_an_answer_in_text_is_structured_and_merged(sandbox: Sandbox, wait_for: WaitFor) -> None:
    task = ended(sandbox, a_run(sandbox, model="acme/chat-llm"), wait_for)
    assert task["debugoutput"] == "You said: hello"
    assert task["outputs"][0]["content"]["answer"] == ["You said: hello"]
    assert Decimal(task["totalcost"]) == Decimal("0.00005")


def test_a_run_is_charged_by_its_tier_and_has_as_many_outputs_as_it_asks_for(
    sandbox: Sandbox, wait_for: WaitFor
) -> None:
    sandbox.change(output_bytes=10)
    image = "http://127.0.0.1:1/x.jpg"
    tiered = a_run(sandbox, model="acme/video-tiers", inputImage=image, style="film", duration=10)
    many = a_run(sandbox, model="acme/outfit", inputImageClothes=[image], samples="3")
    assert ended(sandbox, tiered, wait_for)["totalcost"] == "0.26"
    task = ended(sandbox, many, wait_for)
    assert (task["totalcost"], [output["name"] for output in task["outputs"]]) == ("0.12", ["0.mp4", "1.mp4", "2.mp4"])
    assert http.request("GET", task["outputs"][2]["url"]).status == 200


@pytest.mark.parametrize("name", ["taskid", "socketaccesstoken", "tasktoken"])
def test_a_task_is_cancelled_and_killed_by_its_id_or_its_token(sandbox: Sandbox, name: str) -> None:
    sandbox.change(queue_s=60)
    queued = a_run(sandbox)
    identification = {name: queued["taskid" if name == "taskid" else "socketaccesstoken"]}
    assert error(post(sandbox, "/Task/Kill", identification))[0] == 1
    assert post(sandbox, "/Task/Cancel", identification)["tasklist"][0]["status"] == "task_cancel"
    sandbox.change(queue_s=0, task_s=60)
    running = a_run(sandbox)
    identification = {name: running["taskid" if name == "taskid" else "socketaccesstoken"]}
    assert error(post(sandbox, "/Task/Cancel", identification)) == (1, "Task is not in a cancellable state.")
    assert post(sandbox, "/Task/Kill", identification)["tasklist"][0]["status"] == "task_cancel"


def test_a_task_that_is_not_named_or_unknown(sandbox: Sandbox) -> None:
    assert error(post(sandbox, "/Task/Detail")) == (0, "taskid or socketaccesstoken is required")
    assert error(post(sandbox, "/Task/Detail", {"taskid": "1"})) == (1, "There is no task yet.")


def test_a_killed_task_can_be_charged(sandbox: Sandbox) -> None:
    sandbox.change(task_s=60, kill_charged=1)
    run = a_run(sandbox)
    post(sandbox, "/Task/Kill", {"taskid": run["taskid"]})
    task = detail(sandbox, run)
    assert (task["status"], task["totalcost"]) == ("task_cancel", "0.09")
    assert sandbox.stats()["billed_usd"] == "0.09"


def test_a_kill_can_be_refused(sandbox: Sandbox) -> None:
    sandbox.change(task_s=60, kill_refused=1)
    code, message = error(post(sandbox, "/Task/Kill", {"taskid": a_run(sandbox)["taskid"]}))
    assert code == 1 and message.startswith("Task could not be killed: ")


def test_a_task_can_be_charged_more_than_its_price(sandbox: Sandbox, wait_for: WaitFor) -> None:
    sandbox.change(charge_factor="10.5", output_bytes=10)
    assert Decimal(ended(sandbox, a_run(sandbox), wait_for)["totalcost"]) == Decimal("0.945")


def test_a_task_can_end_without_pexit_and_cost(sandbox: Sandbox, wait_for: WaitFor) -> None:
    sandbox.change(without_pexit=1, output_bytes=10)
    task = ended(sandbox, a_run(sandbox), wait_for)
    assert not {"pexit", "totalcost"} & task.keys()
    assert task["outputs"] and sandbox.stats()["billed_tasks"] == 1


@pytest.mark.parametrize(
    ("refusal", "message", "tasks_too"),
    [
        ("suspended", SUSPENDED, False),
        ("permission", NO_PERMISSION, True),
        ("spend-limit", "Your team has reached its spend limit.", False),
    ],
)
def test_an_account_can_be_refused(sandbox: Sandbox, refusal: str, message: str, tasks_too: bool) -> None:
    run = a_run(sandbox)
    sandbox.change(account_refusal=refusal)
    assert error(post(sandbox, "/Run/acme/animate", {"prompt": "p"})) == (0, message)
    assert post(sandbox, "/Task/Detail", {"taskid": run["taskid"]})["result"] is not tasks_too
    assert sandbox.stats()["runs"] == 1


def test_a_model_can_be_forbidden(sandbox: Sandbox) -> None:
    sandbox.change(model_refused="Acme/Animate")
    refused = post(sandbox, "/Run/acme/animate", {"prompt": "p"})
    assert error(refused) == (0, "This model is not allowed in your team. Contact your team admin.")
    a_run(sandbox, model="acme/other")


def test_an_unauthorized_request_gets_status_401_and_code_0(sandbox: Sandbox) -> None:
    def rejected(**headers: str) -> tuple[int, str]:
        response = http.request("POST", f"{sandbox.url}/Task/List", body=b"{}", headers=headers)
        assert response.status == 401
        return error(response.json())

    assert rejected() == (0, "Project authorization is not founded.")
    assert rejected(**{"x-api-key": sandbox.key})[1].startswith("Project requires signature authentication.")
    wrong = {"x-api-key": sandbox.key, "x-nonce": "1", "x-signature": "1"}
    assert rejected(**wrong) == (0, "Project authorization is not valid.")
    sandbox.change(account_refusal="ip")
    assert error(post(sandbox, "/Task/List", status=401)) == (0, "Requested ip 127.0.0.1 is not allowed.")


def test_an_unknown_endpoint_gets_status_404_and_code_0(sandbox: Sandbox) -> None:
    assert error(post(sandbox, "/Task/Erase", status=404)) == (0, "Error parsing url.")


def test_form_encoded_bodies_are_accepted(sandbox: Sandbox) -> None:
    def form_encoded(path: str, **fields: str) -> dict[str, Any]:
        return post(sandbox, path, urlencode(fields), content_type="application/x-www-form-urlencoded")

    run = form_encoded(f"/Run/{SUBJECT}", prompt="she smiles", inputImageFirstUrl="http://127.0.0.1:1/x.jpg")
    (task,) = form_encoded("/Task/Detail", taskid=run["taskid"])["tasklist"]
    assert task["parameters"]["prompt"] == "she smiles"
    assert form_encoded("/Task/List", type="model", limit="5")["total"] == "1"


def test_a_nonce_may_be_repeated_unless_the_sandbox_is_strict(sandbox: Sandbox) -> None:
    headers = {"x-api-key": sandbox.key, "x-nonce": "1", "x-signature": sign(sandbox.key, sandbox.secret, "1")}

    def statuses() -> list[int]:
        return [http.request("POST", f"{sandbox.url}/Task/List", body=b"{}", headers=headers).status for _ in range(2)]

    sandbox.change(strict_nonce=False)
    assert statuses() == [200, 200]
    sandbox.change(strict_nonce=True)
    assert statuses() == [401, 401]
