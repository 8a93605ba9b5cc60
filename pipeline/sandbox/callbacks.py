"""Callbacks: at most three tries two seconds apart; any answer but 200 is a failure. Then given up for good."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass

import aiohttp

from pipeline.sandbox import documents
from pipeline.sandbox.faults import FaultRng
from pipeline.sandbox.options import Options
from pipeline.sandbox.tasks import Task

TRIES = 3
PAUSE_S = 2.0
TIMEOUT_S = 10


@dataclass
class Counts:
    """`sent` counts tries, the others callbacks."""

    sent: int = 0
    delivered: int = 0
    given_up: int = 0

    def as_json(self) -> dict[str, int]:
        return asdict(self)


class Caller:
    """Tells the receivers that their tasks have ended."""

    def __init__(self, session: aiohttp.ClientSession, rng: FaultRng) -> None:
        self._session = session
        self._dice = rng
        self.counts = Counts()

    async def call(self, task: Task, options: Options) -> None:
        """Send the callback of a task that has ended, once, twice or not at all, as `options` will have it."""
        if not task.callback_url or self._dice.chance(options.lose_callbacks):
            return
        await asyncio.sleep(self._dice.uniform(0, options.callback_delay_s))
        body = self._body(task, options)
        await self._deliver(task, body)
        if self._dice.chance(options.double_callbacks):
            await self._deliver(task, body)

    async def _deliver(self, task: Task, body: bytes) -> None:
        for number in range(TRIES):
            if number:
                await asyncio.sleep(PAUSE_S)
            self.counts.sent += 1
            status = await self._post(task.callback_url, body)
            task.callback_answers.append(status)
            if status == 200:
                self.counts.delivered += 1
                return
        self.counts.given_up += 1

    async def _post(self, url: str, body: bytes) -> int:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0

    def _body(self, task: Task, options: Options) -> bytes:
        document = documents.detail(task, time.time())
        if not self._dice.chance(options.wrong_shape):
            return json.dumps(document).encode()
        flat = {"taskid": task.id, "status": document["status"], "outputs": document["outputs"]}
        odd = (flat, {"tasklist": [document]}, {"data": document}, [document], {"taskid": int(task.id)}, None, "done")
        return self._dice.choice([b"", b"task ended", b"\xff\xfe{", *(json.dumps(shape).encode() for shape in odd)])
