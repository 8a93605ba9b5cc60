"""Log fields and spans for the steps of a run. Spans need OpenTelemetry.

Submit, callback and collect happen in different processes, maybe hours apart. The trace id is a hash of the run's
name, so all spans of a run are in one trace, and no process stores or sends it.
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
    """Add `run` and its `task` at the vendor, if known, to every log line of the block. Open a span."""
    fields: dict[str, str | int] = {"batch": run.batch, "item": run.item, "attempt": run.attempt}
    if task:
        fields["task"] = task
    with bound_contextvars(**fields), span(name, run, fields):
        yield


def span(name: str, run: RunId, fields: Mapping[str, str | int]) -> AbstractContextManager[object]:
    """Return a span of `run`'s trace with `fields` as attributes."""
    # Without a tracer provider nothing would record the span.
    if not _INSTALLED or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
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
