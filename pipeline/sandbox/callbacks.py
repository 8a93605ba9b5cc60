"""Callbacks: at most three attempts, two seconds apart. Any status but 200 is a failure."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass

import aiohttp

from pipeline.sandbox import documents
from pipeline.sandbox.faults import FaultRng
from pipeline.sandbox.options import Options
from pipeline.sandbox.prompt_faults import Faults, callback_body
from pipeline.sandbox.tasks import Task

MAX_ATTEMPTS = 3
PAUSE_S = 2.0
TIMEOUT_S = 10


@dataclass
class Counts:
    """`sent` counts attempts, the others count callbacks."""

    sent: int = 0
    delivered: int = 0
    failed: int = 0

    def as_json(self) -> dict[str, int]:
        return asdict(self)


class CallbackSender:
    """Sends the callbacks of tasks."""

    def __init__(self, session: aiohttp.ClientSession, rng: FaultRng) -> None:
        self._session = session
        self._rng = rng
        self.counts = Counts()

    async def send(self, task: Task, options: Options, faults: Faults) -> None:
        """Send the callback of a task that has ended, as often as `options` and `faults` demand: perhaps never."""
        if not task.callback_url or "no callback" in faults or self._rng.chance(options.lose_callbacks):
            return
        await asyncio.sleep(self._rng.uniform(0, options.callback_delay_s))
        body = callback_body(faults) or self._body(task, options)
        await self._deliver(task, body)
        if "callback five times" in faults:
            for _ in range(4):
                await self._deliver(task, body)
        if self._rng.chance(options.double_callbacks):
            await self._deliver(task, body)

    async def send_once(self, task: Task) -> None:
        """Send a callback with the task as it is now."""
        if task.callback_url:
            await self._deliver(task, json.dumps(documents.detail(task, time.time())).encode())

    async def _deliver(self, task: Task, body: bytes) -> None:
        for number in range(MAX_ATTEMPTS):
            if number:
                await asyncio.sleep(PAUSE_S)
            self.counts.sent += 1
            status = await self._post(task.callback_url, body)
            task.callback_statuses.append(status)
            if status == 200:
                self.counts.delivered += 1
                return
        self.counts.failed += 1

    async def _post(self, url: str, body: bytes) -> int:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0

    def _body(self, task: Task, options: Options) -> bytes:
        document = documents.detail(task, time.time(), quoted_categories=options.quoted_categories)
        if not self._rng.chance(options.wrong_shape):
            return json.dumps(document).encode()
        flat = {"taskid": task.id, "status": document["status"], "outputs": document["outputs"]}
        odd = (flat, {"tasklist": [document]}, {"data": document}, [document], {"taskid": int(task.id)}, None, "done")
        return self._rng.choice([b"", b"task ended", b"\xff\xfe{", *(json.dumps(shape).encode() for shape in odd)])
