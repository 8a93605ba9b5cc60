"""Log fields and spans of a run."""

from __future__ import annotations

import pytest
import structlog
from opentelemetry import trace as api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import LogCapture

from pipeline.domain.callback_tokens import RunId
from pipeline.observability import tracing

RUN = RunId("la-street", "woman-1", 2)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(api, "get_tracer_provider", lambda: provider)
    return exporter


def test_log_lines_within_a_step_name_the_run() -> None:
    capture = LogCapture()
    log = structlog.wrap_logger(None, processors=[structlog.contextvars.merge_contextvars, capture])
    with tracing.step("collect", RUN, "4711"):
        log.info("status_check_failed", error="no")
    log.info("after")
    during, after = capture.entries
    assert (during["batch"], during["item"], during["attempt"], during["task"]) == ("la-street", "woman-1", 2, "4711")
    assert "batch" not in after


def test_the_steps_of_a_run_are_one_trace(spans: InMemorySpanExporter) -> None:
    for name in ("submit", "callback", "collect"):
        with tracing.step(name, RUN):
            pass
    with tracing.step("submit", RunId("la-street", "woman-1", 3)):
        pass
    *steps, other = spans.get_finished_spans()
    assert [span.name for span in steps] == ["dailies.submit", "dailies.callback", "dailies.collect"]
    assert len({span.context.trace_id for span in steps}) == 1
    assert other.context.trace_id != steps[0].context.trace_id
    assert steps[0].attributes is not None
    assert steps[0].attributes["dailies.item"] == "woman-1"


def test_a_failed_step_has_an_error_span(spans: InMemorySpanExporter) -> None:
    with pytest.raises(RuntimeError), tracing.step("collect", RUN):
        raise RuntimeError("broken")
    [span] = spans.get_finished_spans()
    assert not span.status.is_ok


def test_without_opentelemetry_there_are_no_spans(spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_INSTALLED", False)
    with tracing.step("submit", RUN):
        pass
    assert spans.get_finished_spans() == ()
