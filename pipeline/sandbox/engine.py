"""The vendor's works: takes runs, carries tasks from queue to end, bills, calls back."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from pipeline.sandbox.account import Account
from pipeline.sandbox.callbacks import Caller
from pipeline.sandbox.errors import NOT_FOUND, VALIDATION, BadImage, Refusal
from pipeline.sandbox.faults import FaultRng, decide
from pipeline.sandbox.files import Files, StoredFile
from pipeline.sandbox.media_cache import MediaCache
from pipeline.sandbox.options import Options
from pipeline.sandbox.persistence import ImageFolder, RecordedState, SandboxJournal
from pipeline.sandbox.tasks import (
    CANCELLED,
    POSTPROCESS_END,
    QUEUED,
    TERMINAL,
    Ending,
    Product,
    SourceImage,
    Task,
    Timeline,
)

MAX_TASKS = 200_000
_FIRST_ID = 2221
_NO_FACE = "ValueError: the subject's face could not be found"


@dataclass(frozen=True)
class RunRequest:
    """A run as it was asked for, already checked."""

    model: str
    params: dict[str, str]
    prompt: str
    callback_url: str
    image: SourceImage
    base_url: str


class Engine:
    """All tasks of the one account. Lives in one event loop."""

    options: Options
    rng: FaultRng
    account: Account
    caller: Caller
    runs: int
    _tasks: dict[str, Task]
    _by_token: dict[str, Task]

    def __init__(self, options: Options, session: aiohttp.ClientSession, state: Path | None = None) -> None:
        """`state`: a folder in which tasks, files and pictures are remembered over a restart; None: they are not."""
        self.media_cache = MediaCache(session, ImageFolder(state / "pictures") if state else None)
        self.files = Files()
        self._memory = SandboxJournal(state) if state else None
        self._session = session
        self._first_options = options
        self._running: set[asyncio.Task[None]] = set()
        self._begin()
        if self._memory:
            self._remember(self._memory.found)

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change options from now on; a `balance` replaces what is left. Raises ValueError for wrong ones."""
        self.options = self.options.changed(changes)
        if "balance" in changes:
            self.account.balance = self.options.balance

    def take(self, run_request: RunRequest) -> Task:
        """Start a task. Raises Refusal when the account does not allow another."""
        self.account.admit(self.options.price)
        task = self._record(run_request)
        if task.fault_plan.vanishes:
            self._forget(task)
            self.account.release()
            return task
        self._note(task)
        self._set_to_work(task)
        return task

    def keep_file(self, name: str, content_type: str, body: bytes, folder: str) -> StoredFile:
        """Store a file that was uploaded. Raises Refusal (0) when it is empty or larger than 100 MB."""
        file = self.files.add(name, content_type, len(body), folder, self.media_cache.keep(body))
        if self._memory:
            self._memory.note_file(file)
        return file

    def delete_files(self, task: Task) -> None:
        """Delete inputs and outputs of a task that has ended; again is no error. Raises Refusal (0) before its end."""
        if task.status(time.time()) not in TERMINAL:
            raise Refusal(VALIDATION, "The task has not finished.")
        task.deleted = True
        self._note(task)

    def tasks(self) -> list[Task]:
        """Every task, oldest first."""
        return list(self._tasks.values())

    def find(self, token: str | None = None, task_id: str | None = None) -> Task:
        """The task with this token or, without one, this id. Raises Refusal (1) when there is none."""
        task = self._by_token.get(token) if token else self._tasks.get(task_id or "")
        if task is None:
            raise Refusal(NOT_FOUND, "There is no task yet.")
        return task

    def cancel(self, task: Task) -> None:
        """Take a task out of the queue; no callback follows. Raises Refusal (1) when it is not in the queue."""
        if task.status(time.time()) != QUEUED:
            raise Refusal(NOT_FOUND, "Task is not cancellable: it is not in the queue.")
        self._stop(task)

    def kill(self, task: Task) -> None:
        """Stop a running task. Raises Refusal (1) when it is not running."""
        if task.status(time.time()) in {QUEUED, *TERMINAL}:
            raise Refusal(NOT_FOUND, "Task cannot be killed: it is not running.")
        self._stop(task)
        self._call_back(task)

    async def reset(self) -> None:
        """Be as at the start: no tasks, the first options and balance. Pictures and videos are kept."""
        await self._drop_work()
        self._begin()
        if self._memory:
            self._memory.rewrite([], self.files)

    async def close(self) -> None:
        """Drop all tasks that have not ended."""
        self.media_cache.close()
        await self._drop_work()
        if self._memory:
            self._memory.close()

    def _begin(self) -> None:
        self.options = self._first_options
        self.rng = FaultRng(self.options.seed)
        self.account = Account(self.options.balance)
        self.caller = Caller(self._session, self.rng)
        self.runs = 0
        self._tasks = {}
        self._by_token = {}

    def _remember(self, found: RecordedState) -> None:
        self.files.restore(found.files)
        for task in found.tasks.values():
            self._tasks[task.id] = self._by_token[task.token] = task
            self.runs = int(task.id) - _FIRST_ID + 1
            if task.ending is None:
                self.account.occupy()
                self._set_to_work(task)
            elif task.ending.cost:
                self.account.charge(task.ending.cost)

    def _set_to_work(self, task: Task) -> None:
        if not task.fault_plan.stuck:
            task.work = self._spawn(self._carry_out(task))

    def _note(self, task: Task) -> None:
        if self._memory:
            self._memory.note(task)
            if self._memory.is_long():
                self._memory.rewrite(self._tasks.values(), self.files)

    async def _drop_work(self) -> None:
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _record(self, run_request: RunRequest) -> Task:
        options, fault_plan = self.options, decide(self.rng, self.options, run_request.prompt)
        throughput = 0.0 if fault_plan.early else self.rng.around(options.task_s)
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
            timeline=Timeline(time.time(), 0.0 if fault_plan.early else options.queue_s, throughput),
        )
        self.runs += 1
        self._tasks[task.id] = self._by_token[task.token] = task
        self._prune()
        return task

    def _prune(self) -> None:
        while len(self._tasks) > MAX_TASKS:
            ended = (task for task in self._tasks.values() if task.ending)
            self._forget(next(ended, None) or next(iter(self._tasks.values())))

    def _forget(self, task: Task) -> None:
        del self._tasks[task.id], self._by_token[task.token]

    async def _carry_out(self, task: Task) -> None:
        await asyncio.sleep(max(0.0, task.timeline.started_at - time.time()))
        try:
            products, error = await self._produce(task), ""
        except BadImage as bad:
            products, error = (), str(bad)
        if task.fault_plan.fails:
            products, error = (), _NO_FACE
        await asyncio.sleep(max(0.0, task.timeline.ends_at - time.time()))
        self._end(task, products, error)
        self._call_back(task)

    async def _produce(self, task: Task) -> tuple[Product, ...]:
        slug = task.model.partition("/")[2]
        if "llm" in slug or "text" in slug:
            return (Product("0.txt", "raw", text=f"You said: {task.prompt}"),)
        if self.options.output_bytes:
            return (Product("0.mp4", "video/mp4", self.options.output_bytes, noise=True),)
        task.image = await self.media_cache.obtain(task.image)
        if task.fault_plan.fails:
            return ()
        made = await self.media_cache.video(task.image.sha256, task.prompt)
        return (Product("0.mp4", "video/mp4", len(made)),)

    def _end(self, task: Task, products: tuple[Product, ...], error: str) -> None:
        cost = self.options.price if products else Decimal(0)
        task.ending = Ending(time.time(), POSTPROCESS_END, "0" if products else "1", cost, error, products)
        if products:
            self.account.charge(cost)
        self._let_go(task)

    def _stop(self, task: Task) -> None:
        if task.work:
            task.work.cancel()
        task.ending = Ending(time.time(), CANCELLED, None)
        self._let_go(task)

    def _let_go(self, task: Task) -> None:
        self.account.release()
        self._note(task)
        task.work = None
        task.ended.set()

    def _call_back(self, task: Task) -> None:
        task.call = self._spawn(self.caller.call(task, self.options))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        running = asyncio.get_running_loop().create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running
