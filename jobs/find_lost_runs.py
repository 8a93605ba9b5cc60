"""The `find_lost_runs` job: searches the vendor's list of tasks for runs whose response was lost.

One listing serves all runs that are due. A task that is found becomes a hint, as if a callback had named it: `collect`
checks it at Task/Detail and adopts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import structlog

from jobs.context import Context, context
from jobs.task_matching import CLOCK_MARGIN, SentRun, match_by_callback_url, match_by_parameters
from pipeline.batches.job_queue import Job
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.formatting import pluralize
from pipeline.errors import DamagedRecord, NoSuchBatch
from pipeline.ledger.records import FoundBy, LostRun, LostRuns
from pipeline.ledger.redis_client import CommandRefused
from pipeline.wiro.client import Task
from pipeline.wiro.errors import WiroError

log = structlog.get_logger()

PAGE_SIZE = 100
MAX_PAGES = 50
_MAX_LISTING_S = 60.0
_LEASE_S = 30.0
"""Longer than a page takes. Short, because a worker that is killed during a search holds it until the end."""
_MAX_RUNS = 1000
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_OTHER_RUNS = 2000
"""With more runs whose task is not known, only callback URLs identify tasks."""


class SearchLeaseLost(Exception):
    """Another process searches now."""


@dataclass(frozen=True)
class Listing:
    """The newest tasks of the vendor. `problem`: why some are missing, '' if none is."""

    tasks: Sequence[Task]
    problem: str = ""


def find_lost_runs() -> None:
    """Search for the tasks of the lost runs that are due. Another process that searches already is not disturbed."""
    ctx = context()
    job_queue, lost_runs = ctx.service.job_queue, ctx.service.ledger.lost_runs
    job_queue.clear_pending(Job.FIND_LOST_RUNS)
    claimed = lost_runs.claim(_MAX_RUNS, lease_s=_LEASE_S, max_wait_s=ctx.service.settings.sweep_every_s)
    try:
        if claimed.runs:
            _search(ctx, claimed)
    finally:
        if claimed.runs:
            lost_runs.release(claimed)
    if claimed.next_in_s is not None:
        job_queue.enqueue_in(Job.FIND_LOST_RUNS, claimed.next_in_s)


def _search(ctx: Context, claimed: LostRuns) -> None:
    runs = claimed.runs
    lost = sent_runs(ctx, runs)

    def list_page(start: int) -> Sequence[Task]:
        if not ctx.service.ledger.lost_runs.renew(claimed, lease_s=_LEASE_S):
            raise SearchLeaseLost("Another process searches for lost runs now.")
        return ctx.wiro.list_tasks(start=start, limit=PAGE_SIZE)

    began = ctx.service.ledger.lost_runs.now()
    listing = list_tasks(
        list_page,
        since=min(run.posted for run in runs) - CLOCK_MARGIN,
        callback_urls={run.callback_url for run in lost},
    )
    tasks = listing.tasks
    found = match_by_callback_url(lost, tasks)
    if not listing.problem:
        # A page that is missing may have a second task with the same parameters, but not with the same callback URL.
        found |= _match_rest(ctx, [run for run in lost if run.run not in found], tasks, found)
    log.info("lost_runs_searched", runs=len(runs), tasks=len(tasks), found=len(found))
    missing = [run for run in runs if run.run not in found]
    problem = listing.problem or _record_search(ctx, missing, tasks, began)
    ctx.service.ledger.lost_runs.record_problem(problem if missing else "")
    if problem and missing:
        log.warning("tasks_not_listed", runs=len(missing), tasks=len(tasks), error=problem)
    due = [_record(ctx, run, task) for run, task in found.items()]
    if any(due):
        ctx.service.job_queue.enqueue_once(Job.COLLECT)


def list_tasks(
    list_page: Callable[[int], Sequence[Task]], *, since: datetime, callback_urls: Collection[str | None]
) -> Listing:
    """List the newest tasks, back to those created before `since` or until all `callback_urls` are found.

    `list_page` returns the rows from a position on, newest first; the vendor may return fewer than PAGE_SIZE. If it
    raises WiroError or SearchLeaseLost, the listing ends there.
    """
    tasks: dict[str, Task] = {}
    rows, problem = 0, ""
    ends = time.monotonic() + _MAX_LISTING_S
    for _ in range(MAX_PAGES):
        try:
            page = list_page(rows)
        except (WiroError, SearchLeaseLost) as error:
            return Listing(list(tasks.values()), str(error))
        rows += len(page)
        named = [task for task in page if task.id or task.token]
        if len(named) < len(page):
            problem = "The list has rows that name no task."
        new = {task.id or task.token: task for task in named if (task.id or task.token) not in tasks}
        tasks |= new
        is_complete = None not in callback_urls and {task.callback_url for task in tasks.values()} >= set(callback_urls)
        if not page or is_complete or _is_past(page, since):
            return Listing(list(tasks.values()), problem)
        if not new:
            return Listing(list(tasks.values()), problem or "The vendor repeats a page of its list.")
        if time.monotonic() > ends:
            break
    return Listing(list(tasks.values()), f"There are more than {len(tasks)} tasks since then.")


def _is_past(page: Sequence[Task], since: datetime) -> bool:
    """Return whether no later page can have a task that was created after `since`: the page is as old, newest first.

    In another order the listing is read to its end.
    """
    created = [task.created for task in page if task.created]
    is_newest_first = all(first >= second for first, second in pairwise(created))
    return bool(created) and is_newest_first and created[-1] < since


def _match_rest(
    ctx: Context, lost: Sequence[SentRun], tasks: Sequence[Task], found: Collection[RunId]
) -> dict[RunId, Task]:
    """Match tasks without a callback URL by their parameters."""
    candidates = [task for task in tasks if not task.callback_url]
    if not lost or not candidates:
        return {}
    # After the listing: a run whose task it shows is being posted, unknown, or its task is known.
    unanswered = ctx.service.ledger.lost_runs.unanswered(_MAX_OTHER_RUNS)
    if unanswered is None:
        return {}
    others = sent_runs(ctx, [run for run in unanswered if run.run not in found])
    known = ctx.service.ledger.lost_runs.known_tasks(
        [name for task in candidates for name in (task.id, task.token) if name]
    )
    return match_by_parameters(lost, candidates, others, known)


def sent_runs(ctx: Context, runs: Sequence[LostRun]) -> list[SentRun]:
    """Return runs as they were sent, without those whose batch is gone."""
    sent = []
    for run in runs:
        try:
            sent.append(_sent_run(ctx, run))
        except (NoSuchBatch, DamagedRecord, CommandRefused):
            log.warning("open_batch_missing", batch=run.run.batch)
    return sent


def _sent_run(ctx: Context, run: LostRun) -> SentRun:
    config, image = ctx.batch_config(run.run.batch), run.image
    if image and image.startswith("s3://"):
        image = ctx.service.ledger.shared_images.url(run.run.batch, image)
    prompt = {} if run.prompt is None else {"prompt": run.prompt}
    return SentRun(
        run=run.run,
        posted=run.posted,
        model=config.model,
        params={**config.params, **run.params, **prompt},
        image=image,
        image_field=config.image_field,
        callback_url=ctx.callback_url(run.run),
    )


def _record_search(ctx: Context, missing: Sequence[LostRun], tasks: Sequence[Task], began: datetime) -> str:
    """Record that runs are not in a listing, if it is whole. Return why it is not: it lacks an accepted task."""
    if not missing:
        return ""
    lost_runs = ctx.service.ledger.lost_runs
    listed = {name for task in tasks for name in (task.id, task.token)}
    since = min(run.posted for run in missing) - CLOCK_MARGIN if tasks else _EVER
    if lacking := lost_runs.accepted_tasks(since, began) - listed:
        return f"{pluralize(len(lacking), 'task')} that the vendor accepted cannot be found in it."
    lost_runs.record_search([run.run for run in missing])
    return ""


def _record(ctx: Context, run: RunId, task: Task) -> bool:
    return bool(ctx.service.ledger.runs.record_callback(run, task.id, task.token, found_by=FoundBy.TASK_LIST))
