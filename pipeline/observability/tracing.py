"""A run followed through its steps: its names on every log line, and a span where OpenTelemetry is installed.

Submit, callback and collect happen in different processes, maybe hours apart. All of a run's spans are in one trace
because its id is made from the run's name, so nothing has to be carried along or kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from structlog.contextvars import bound_contextvars

from pipeline.domain.callback_tokens import RunId

try:
    from opentelemetry import trace
except ImportError:
    _INSTALLED = False
else:
    _INSTALLED = True


@contextmanager
def step(name: str, run: RunId, task: str = "") -> Iterator[None]:
    """Whatever is logged until the block ends is about `run`, whose task at the vendor is `task` if it is known."""
    fields: dict[str, str | int] = {"batch": run.batch, "item": run.item, "attempt": run.attempt}
    if task:
        fields["task"] = task
    with bound_contextvars(**fields), span(name, run, fields):
        yield


def span(name: str, run: RunId, fields: Mapping[str, str | int]) -> AbstractContextManager[object]:
    """A span of `run`'s trace alone, with `fields` as attributes."""
    if not _INSTALLED:
        return nullcontext()
    digest = hashlib.sha256(f"{run.batch} {run.item} {run.attempt}".encode()).digest()
    parent = trace.SpanContext(
        trace_id=int.from_bytes(digest[:16]),
        span_id=int.from_bytes(digest[16:24]),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.get_tracer("dailies").start_as_current_span(
        f"dailies.{name}",
        context=trace.set_span_in_context(trace.NonRecordingSpan(parent)),
        attributes={f"dailies.{field}": value for field, value in fields.items()},
    )
