"""Which task of the vendor's list belongs to which lost run. Pure.

A task belongs to the run that it has the callback URL of. A task without a callback URL belongs to a run if its model,
parameters, prompt and image are those of the run, no other task's are, and no other run could have created it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pipeline.domain.callback_tokens import RunId
from pipeline.wiro.client import Task

CLOCK_MARGIN = timedelta(minutes=5)
"""How far the vendor's clock may be behind that of Redis: a task that is older than that is not of the run."""
_MAX_NUMBER_CHARS = 64


@dataclass(frozen=True)
class SentRun:
    """A run as it was sent. `image`: the URL of its image; None if it was a file, or there is none.

    `callback_url`: None without callbacks. `params` include the prompt.
    """

    run: RunId
    posted: datetime
    model: str
    params: Mapping[str, Any]
    image: str | None
    image_field: str
    callback_url: str | None


def match_by_callback_url(lost: Iterable[SentRun], tasks: Iterable[Task]) -> dict[RunId, Task]:
    """Return the task of each lost run whose callback URL a task has."""
    by_url = {task.callback_url: task for task in tasks if task.callback_url}
    return {run.run: by_url[run.callback_url] for run in lost if run.callback_url in by_url}


def match_by_parameters(
    lost: Sequence[SentRun], tasks: Iterable[Task], others: Iterable[SentRun], known: Collection[str]
) -> dict[RunId, Task]:
    """Return the task of each lost run that exactly one task matches, and that no other run could have created.

    `others`: the other runs that may have a task which is not in the ledger. `known`: ids and tokens of tasks that
    belong to other attempts.
    """
    by_prompt: defaultdict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        if not task.callback_url and task.id not in known and task.token not in known:
            by_prompt[_text(task.parameters.get("prompt"))].append(task)
    found = {run.run: _matching(run, by_prompt) for run in {run.run: run for run in (*others, *lost)}.values()}
    claimants = Counter(task.id or task.token for candidates in found.values() for task in candidates)
    return {
        run.run: task
        for run in lost
        if len(found[run.run]) == 1 and claimants[(task := found[run.run][0]).id or task.token] == 1
    }


def _matching(run: SentRun, by_prompt: Mapping[str, Sequence[Task]]) -> list[Task]:
    if not run.image and not run.params.get("prompt"):
        # Such a run cannot be separated from others of its model.
        return []
    return [task for task in by_prompt.get(_text(run.params.get("prompt")), ()) if _is_task_of(run, task)]


def _is_task_of(run: SentRun, task: Task) -> bool:
    if task.created is None or task.created < run.posted - CLOCK_MARGIN:
        return False
    if task.model and task.model != run.model.lower():
        return False
    sent = task.parameters
    if any(_text(sent.get(name)) != _text(value) for name, value in run.params.items()):
        return False
    images = (_text(sent.get(name)) for name in (run.image_field, f"{run.image_field}Url"))
    return run.image is None or any(run.image in (text, *text.split(",")) for text in images)


def _text(value: object) -> str:
    """Return a parameter as text that is the same however the vendor stores it: numbers are often strings."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and len(value) == 1:
        return _text(value[0])
    if isinstance(value, Mapping | list):
        return json.dumps(value, sort_keys=True, default=str)
    text = " ".join(str(value).split())
    try:
        return str(Decimal(text).normalize()) if len(text) <= _MAX_NUMBER_CHARS else text
    except ArithmeticError:
        return text
