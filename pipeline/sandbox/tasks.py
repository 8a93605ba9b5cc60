"""A task: its request, its status over time, its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pipeline.sandbox.faults import FaultPlan

QUEUED = "task_queue"
POSTPROCESS_END = "task_postprocess_end"
CANCELLED = "task_cancel"
STDERR = "task_error"
"""A message of the WebSocket. As the status of a task it is rare: its start failed and is tried again."""
TERMINAL = frozenset({POSTPROCESS_END, CANCELLED})

STAGES: tuple[tuple[str, float], ...] = (
    ("task_accept", 0.0),
    ("task_preprocess_start", 0.02),
    ("task_preprocess_end", 0.06),
    ("task_assign", 0.08),
    ("task_start", 0.10),
    ("task_output", 0.15),
    (STDERR, 0.50),
    ("task_output_full", 0.90),
    ("task_error_full", 0.91),
    ("task_end", 0.93),
    ("task_postprocess_start", 0.95),
)
"""Statuses between the queue and the end, each with the share of the running time at which it begins."""


@dataclass(frozen=True)
class Timeline:
    """The times at which a task reaches each status. `queued_at` is Unix time, the rest are seconds."""

    queued_at: float
    queue_s: float
    run_s: float

    @property
    def started_at(self) -> float:
        return self.queued_at + self.queue_s

    @property
    def ends_at(self) -> float:
        return self.started_at + self.run_s

    def begins(self, share: float) -> float:
        """Return the time at which `share` of the running time has passed."""
        return self.started_at + self.run_s * share

    def reached(self, now: float) -> tuple[str, ...]:
        """Return every status up to `now`, in order, without the terminal one: time alone does not end a task."""
        return (QUEUED, *(status for status, share in STAGES if self.begins(share) <= now))

    def next_change(self, now: float) -> float | None:
        """Return the time of the next status after `now`; None if only the end is left."""
        return next((self.begins(share) for _, share in STAGES if self.begins(share) > now), None)


@dataclass(frozen=True)
class SourceImage:
    """The image of a task: the hash of stored bytes, or a URL that is not fetched yet, or neither."""

    sha256: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Product:
    """One output. `size` is the true number of bytes, `text` the output of contenttype `raw`; with `noise` the bytes
    are arbitrary and no video."""

    name: str
    content_type: str
    size: int = 0
    text: str | None = None
    noise: bool = False


@dataclass(frozen=True)
class Ending:
    """The end of a task. `at` is Unix time; `error` is the last line of its stderr."""

    at: float
    status: str
    pexit: str | None
    cost: Decimal = Decimal(0)
    error: str = ""
    products: tuple[Product, ...] = ()


@dataclass(eq=False)
class Task:
    """One task. `base_url` is the address at which the client reaches the sandbox: output URLs begin with it."""

    id: str
    token: str
    uuid: str
    model: str
    params: dict[str, Any]
    prompt: str
    callback_url: str
    base_url: str
    image: SourceImage
    fault_plan: FaultPlan
    timeline: Timeline
    ending: Ending | None = None
    deleted: bool = False
    expired_url_given: bool = False
    attempt: int = 1
    """The task's number among those with the same prompt; counted only with the option `prompt_faults`."""
    detail_requests: int = 0
    downloads: int = 0
    callback_statuses: list[int] = field(default_factory=list)
    """HTTP statuses of this task's callbacks; 0 for no response."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None
    call: asyncio.Task[None] | None = None

    def status(self, now: float) -> str:
        """Return its status at `now`."""
        if self.ending:
            return self.ending.status
        reached = self.timeline.reached(now)
        return next(status for status in reversed(reached) if status != STDERR or self.fault_plan.task_error)
