"""Tasks as JSON, as the vendor writes them: most numbers are strings, some fields are null."""

from __future__ import annotations

import hashlib
from typing import Any

from pipeline.sandbox.models import categories
from pipeline.sandbox.prompt_faults import UNKNOWN_STATUS
from pipeline.sandbox.tasks import CANCELLED, POSTPROCESS_END, STAGES, Product, Task

URL_LIFETIME_S = 86_400


def detail(task: Task, now: float, *, quoted_categories: bool = False) -> dict[str, Any]:
    """Return the TASK object of Task/Detail at `now` (Unix time)."""
    ending = task.ending
    texts = [product.text for product in ending.products if product.text is not None] if ending else []
    document = {
        "id": task.id,
        "uuid": task.uuid,
        "socketaccesstoken": task.token,
        "name": None,
        "modeldescription": task.model.partition("/")[2],
        "modelslugowner": task.model.partition("/")[0],
        "modelslugproject": task.model.partition("/")[2],
        "categories": categories("llm" if texts else "image-to-video", quoted=quoted_categories),
        "parameters": task.params,
        "status": task.status(now),
        "pexit": ending.pexit if ending else None,
        "debugoutput": "\n".join(texts),
        "debugerror": ending.error if ending else "",
        "elapsedseconds": f"{ending.at - task.timeline.started_at:.4f}" if ending else "0.0000",
        "cps": "0.000000000000",
        "totalcost": f"{ending.cost:f}" if ending else None,
        "guid": None,
        "projectid": task.params.get("projectid") or None,
        "ratelimitid": None,
        "callbackurl": task.callback_url or None,
        "outputs": outputs(task),
        "size": str(sum(product.size for product in ending.products)) if ending else "0",
    }
    if task.fault_plan.without_pexit:
        del document["pexit"], document["totalcost"]
    return document | _times(task, now)


def with_unknown_status(document: dict[str, Any]) -> dict[str, Any]:
    """Return a TASK object as before the task's end, with a status that no manual lists."""
    return document | {"status": UNKNOWN_STATUS, "pexit": None, "totalcost": None, "outputs": []}


def task_list(documents: list[dict[str, Any]], total: int) -> dict[str, Any]:
    """Return the response of Task/Detail, Task/Cancel, Task/Kill and Task/List."""
    return {"total": str(total), "errors": [], "result": True, "tasklist": documents}


def outputs(task: Task) -> list[dict[str, Any]]:
    """Return the outputs of a task that has ended; an empty list before its end and after their deletion."""
    if task.ending is None or task.deleted:
        return []
    return [_output(task, product, task.ending.at) for product in task.ending.products]


def _output(task: Task, product: Product, made_at: float) -> dict[str, Any]:
    if product.text is not None:
        return {"contenttype": "raw", "content": _answer(task.prompt, product.text)}
    expired = "?expired=1" if task.fault_plan.first_url_expired and not task.expired_url_given else ""
    size = product.size - product.size // 3 if task.fault_plan.overlong else product.size
    return {
        "id": _digest(task, product.name)[:32],
        "name": product.name,
        "contenttype": product.content_type,
        "parentid": None,
        "uuid": task.uuid,
        "size": str(size),
        "addedtime": str(int(made_at)),
        "modifiedtime": str(int(made_at)),
        "accesskey": access_key(task, product.name),
        "expiretime": str(int(made_at) + URL_LIFETIME_S),
        "url": f"{task.base_url}/cdn/{task.id}/{access_key(task, product.name)}/{product.name}{expired}",
    }


def access_key(task: Task, name: str) -> str:
    """Return the part of an output's URL that cannot be guessed. Ids are numbers in a row."""
    return _digest(task, name)[32:]


def _digest(task: Task, name: str) -> str:
    return hashlib.sha256(f"{task.token}/{name}".encode()).hexdigest()


def _answer(prompt: str, text: str) -> dict[str, Any]:
    words = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
    return {
        "prompt": prompt,
        "raw": text,
        "thinking": [],
        "answer": [text],
        "segments": [{"type": "answer", "text": text}],
        "finishreason": "stop",
        "usage": words | {"total_tokens": sum(words.values())},
    }


def _times(task: Task, now: float) -> dict[str, str]:
    timeline, ending = task.timeline, task.ending
    reached = {status: timeline.begins(share) for status, share in STAGES if timeline.begins(share) <= now}
    if ending:
        reached = {status: at for status, at in reached.items() if at <= ending.at} | {ending.status: ending.at}
    return {
        "createtime": _seconds(timeline.queued_at),
        "canceltime": _seconds(reached.get(CANCELLED)),
        "assigntime": _seconds(reached.get("task_assign")),
        "accepttime": _seconds(reached.get("task_accept")),
        "preprocessstarttime": _seconds(reached.get("task_preprocess_start")),
        "preprocessendtime": _seconds(reached.get("task_preprocess_end")),
        "starttime": _seconds(reached.get("task_start")),
        "endtime": _seconds(reached.get("task_end")),
        "postprocessstarttime": _seconds(reached.get("task_postprocess_start")),
        "postprocessendtime": _seconds(reached.get(POSTPROCESS_END)),
    }


def _seconds(time: float | None) -> str:
    return str(int(time)) if time is not None else "0"
