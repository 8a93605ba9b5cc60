"""The engine: takes Runs, moves tasks from the queue to their end, bills them, sends callbacks."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from pipeline.sandbox import pricing, prompt_faults
from pipeline.sandbox.account import Account
from pipeline.sandbox.callbacks import CallbackSender
from pipeline.sandbox.errors import NO_TASK, NOT_FOUND, VALIDATION, BadImage, Refusal
from pipeline.sandbox.faults import FaultRng, decide
from pipeline.sandbox.files import Files, StoredFile
from pipeline.sandbox.media_cache import MediaCache
from pipeline.sandbox.models import Model, find_model
from pipeline.sandbox.options import Options
from pipeline.sandbox.persistence import ImageFolder, RecordedState, SandboxJournal
from pipeline.sandbox.production import produce
from pipeline.sandbox.prompt_faults import NO_FAULTS, Faults, Reply
from pipeline.sandbox.run_request import RunRequest
from pipeline.sandbox.tasks import (
    CANCELLED,
    POSTPROCESS_END,
    QUEUED,
    TERMINAL,
    Ending,
    Product,
    Task,
    Timeline,
)

MAX_TASKS = 200_000
_FIRST_ID = 2221
_NO_FACE = "ValueError: the subject's face could not be found"


class Engine:
    """All tasks of the one account. Use it in one event loop."""

    options: Options
    rng: FaultRng
    account: Account
    callbacks: CallbackSender
    runs: int
    _tasks: dict[str, Task]
    _by_token: dict[str, Task]
    _posts: Counter[str]
    _attempts: Counter[str]

    def __init__(self, options: Options, session: aiohttp.ClientSession, folder: Path | None = None) -> None:
        """`folder` keeps tasks, files and images over a restart; None: they end with the process."""
        self.media_cache = MediaCache(session, ImageFolder(folder / "pictures") if folder else None)
        self.files = Files()
        self._journal = SandboxJournal(folder) if folder else None
        self._session = session
        self._first_options = options
        self._running: set[asyncio.Task[None]] = set()
        self._clear()
        if self._journal:
            self._restore(self._journal.recorded)

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change options; `balance` replaces the current balance. Raises ValueError if one is invalid."""
        self.options = self.options.changed(changes)
        if "balance" in changes:
            self.account.balance = self.options.balance

    def faults(self, prompt: str) -> Faults:
        """Return the faults that `prompt` lists; none unless the option `prompt_faults` is on."""
        return prompt_faults.named_in(prompt) if self.options.prompt_faults else NO_FAULTS

    def refusal(self, prompt: str) -> Reply | None:
        """Return the refusal that `prompt` demands for this Run, or None."""
        if not self.options.prompt_faults:
            return None
        self._posts[prompt] += 1
        return prompt_faults.run_refusal(self.faults(prompt), self._posts[prompt])

    def model(self, slug: str) -> Model:
        """Return the model "owner/name". Raises Refusal (1) if there is none."""
        return find_model(slug, self.options.price)

    def take(self, run_request: RunRequest) -> Task:
        """Start a task. Raises Refusal if the account does not allow another one."""
        model, params = self.model(run_request.model), run_request.params
        outputs = pricing.outputs_wanted(model, params)
        self.account.admit(pricing.run_cost(model, params, outputs=outputs, elapsed_s=self.options.task_s))
        task = self._new_task(run_request)
        if task.fault_plan.vanishes:
            self._remove(task)
            self.account.remove_active()
            return task
        self._record(task)
        self._start(task)
        if "callback early" in self.faults(task.prompt):
            self._spawn(self.callbacks.send_once(task))
        return task

    def store_file(self, name: str, content_type: str, body: bytes, folder: str) -> StoredFile:
        """Store an uploaded file. Raises Refusal (0) if it is empty or larger than 100 MB."""
        file = self.files.add(name, content_type, len(body), folder, self.media_cache.store(body))
        if self._journal:
            self._journal.write_file(file)
        return file

    def delete_files(self, task: Task) -> None:
        """Delete inputs and outputs of a task that has ended, if any. Raises Refusal (0) before its end."""
        if task.status(time.time()) not in TERMINAL:
            raise Refusal(VALIDATION, "Task must be completed or cancelled before deleting files")
        task.deleted = True
        self._record(task)

    def tasks(self) -> list[Task]:
        """Return every task, oldest first."""
        return list(self._tasks.values())

    def find(self, token: str | None = None, task_id: str | None = None) -> Task:
        """Return the task with this token or, without a token, this id. Raises Refusal (1) if there is none."""
        task = self._by_token.get(token) if token else self._tasks.get(task_id or "")
        if task is None:
            raise Refusal(NOT_FOUND, NO_TASK)
        return task

    def cancel(self, task: Task) -> None:
        """Remove a task from the queue, without a callback. Raises Refusal (1) if it is not in the queue."""
        if task.status(time.time()) != QUEUED or self.rng.chance(self.options.kill_refused):
            raise Refusal(NOT_FOUND, "Task is not in a cancellable state.")
        self._stop(task)

    def kill(self, task: Task) -> None:
        """Stop a running task. Raises Refusal (1) if it is not running."""
        if task.status(time.time()) in {QUEUED, *TERMINAL} or self.rng.chance(self.options.kill_refused):
            raise Refusal(NOT_FOUND, "Task could not be killed: it is not running")
        if "task not killable" in self.faults(task.prompt):
            if task.work is None:
                task.work = self._spawn(self._run(task))
            raise Refusal(NOT_FOUND, "Task could not be killed: the worker did not respond")
        self._stop(task, self._cost(task, 1) if self.rng.chance(self.options.kill_charged) else Decimal(0))
        self._call_back(task)

    async def reset(self) -> None:
        """Delete all tasks and restore the first options and balance. Images and videos stay cached."""
        await self._cancel_work()
        self._clear()
        if self._journal:
            self._journal.rewrite([], self.files)

    async def close(self) -> None:
        """Cancel the work on all tasks that have not ended."""
        self.media_cache.close()
        await self._cancel_work()
        if self._journal:
            self._journal.close()

    def _clear(self) -> None:
        self.options = self._first_options
        self.rng = FaultRng(self.options.seed)
        self.account = Account(self.options.balance)
        self.callbacks = CallbackSender(self._session, self.rng)
        self.runs = 0
        self._tasks = {}
        self._by_token = {}
        self._posts = Counter()
        self._attempts = Counter()

    def _restore(self, recorded: RecordedState) -> None:
        self.files.restore(recorded.files)
        for task in recorded.tasks.values():
            self._tasks[task.id] = self._by_token[task.token] = task
            self.runs = int(task.id) - _FIRST_ID + 1
            if task.ending is None:
                self.account.add_active()
                self._start(task)
            elif task.ending.cost:
                self.account.charge(task.ending.cost)

    def _start(self, task: Task) -> None:
        if not task.fault_plan.stuck:
            task.work = self._spawn(self._run(task))

    def _record(self, task: Task) -> None:
        if self._journal:
            self._journal.write_task(task)
            if self._journal.is_too_long():
                self._journal.rewrite(self._tasks.values(), self.files)

    async def _cancel_work(self) -> None:
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _new_task(self, run_request: RunRequest) -> Task:
        options, faults = self.options, self.faults(run_request.prompt)
        if options.prompt_faults:
            self._attempts[run_request.prompt] += 1
        attempt = self._attempts[run_request.prompt] if options.prompt_faults else 1
        fault_plan = decide(self.rng, options, run_request.prompt, faults, attempt)
        run_s = 0.0 if fault_plan.early else self.rng.around(options.task_s)
        task = Task(
            id=str(_FIRST_ID + self.runs),
            token=secrets.token_urlsafe(24),
            uuid=str(uuid.uuid4()),
            model=run_request.model,
            params=run_request.params,
            prompt=run_request.prompt,
            callback_url=run_request.callback_url,
            base_url=run_request.base_url,
            image=run_request.image,
            fault_plan=fault_plan,
            timeline=Timeline(time.time(), 0.0 if fault_plan.early else options.queue_s, run_s),
            attempt=attempt,
        )
        self.runs += 1
        self._tasks[task.id] = self._by_token[task.token] = task
        self._prune()
        return task

    def _prune(self) -> None:
        while len(self._tasks) > MAX_TASKS:
            ended = (task for task in self._tasks.values() if task.ending)
            self._remove(next(ended, None) or next(iter(self._tasks.values())))

    def _remove(self, task: Task) -> None:
        del self._tasks[task.id], self._by_token[task.token]

    async def _run(self, task: Task) -> None:
        await asyncio.sleep(max(0.0, task.timeline.started_at - time.time()))
        try:
            products, error = await produce(task, self.model(task.model), self.options, self.media_cache), ""
        except BadImage as bad:
            products, error = (), str(bad)
        if task.fault_plan.fails:
            products, error = (), _NO_FACE
        await asyncio.sleep(max(0.0, task.timeline.ends_at - time.time()))
        self._end(task, products, error)
        self._call_back(task)

    def _cost(self, task: Task, outputs: int) -> Decimal:
        elapsed_s = max(0.0, time.time() - task.timeline.started_at)
        cost = pricing.run_cost(self.model(task.model), task.params, outputs=outputs, elapsed_s=elapsed_s)
        return cost * self.options.charge_factor

    def _end(self, task: Task, products: tuple[Product, ...], error: str) -> None:
        cost = self._cost(task, len(products)) if products else Decimal(0)
        task.ending = Ending(time.time(), POSTPROCESS_END, "0" if products else "1", cost, error, products)
        self._finish(task)

    def _stop(self, task: Task, cost: Decimal = Decimal(0)) -> None:
        if task.work:
            task.work.cancel()
        task.ending = Ending(time.time(), CANCELLED, None, cost)
        self._finish(task)

    def _finish(self, task: Task) -> None:
        if task.ending and task.ending.cost:
            self.account.charge(task.ending.cost)
        self.account.remove_active()
        self._record(task)
        task.work = None
        task.ended.set()

    def _call_back(self, task: Task) -> None:
        faults = self.faults(task.prompt)
        task.call = self._spawn(self.callbacks.send(task, self.options, faults))
        if "callback of older attempts" in faults:
            for older in self._tasks.values():
                if older.prompt == task.prompt and older.attempt < task.attempt:
                    self._spawn(self.callbacks.send_once(older))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        running = asyncio.get_running_loop().create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running
