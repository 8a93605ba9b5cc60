"""The triggers: their file, and the rights that each rule needs on its bucket and its queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.doctor.findings import Finding, note, ok, one_line, wrong
from pipeline.errors import DailiesError
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.listener import thread_plans
from pipeline.triggers.object_version import status_uri
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rule_loader import load
from pipeline.triggers.sqs import Queue
from pipeline.triggers.store import TriggerStore


def check_triggers(settings: Settings) -> Iterator[Finding]:
    """Check that new objects will start batches. Raises Unreachable."""
    try:
        rules = load(settings.triggers)
    except (DailiesError, OSError) as error:
        yield wrong(
            "triggers",
            f"The file has errors, so its last valid version is used. {one_line(error)}",
            "Correct the file. It is loaded again within a second.",
        )
        return
    storage = Storage(settings.s3_endpoint)
    for rule in rules:
        yield from _check_output(rule, settings.output)
        yield from _check_rule(rule, storage)
    yield from _check_push_token(settings, rules)
    if thread_plans(rules):
        yield _check_listener(settings)


def _check_rule(rule: Rule, storage: Storage) -> Iterator[Finding]:
    subject = f"trigger {rule.name}"
    fix = "docs/triggers.md has the smallest policy, and the commands that create bucket, queue and notification."
    try:
        _check_prefix(rule, storage)
        attributes = Queue([rule]).check() if rule.source is Source.SQS else {}
    except DailiesError as error:
        yield wrong(subject, one_line(error), fix)
        return
    queue = "; its queue answers" if rule.source is Source.SQS else ""
    yield ok(subject, f"{rule.watch} can be listed, and status files can be written there{queue}")
    if rule.source is Source.SQS and "RedrivePolicy" not in attributes:
        message = "The queue has no redrive policy: an invalid message is delivered again for days."
        yield note(subject, message, fix)


def _check_output(rule: Rule, output: str | None) -> Iterator[Finding]:
    """Check that the rule does not watch what the service writes: objects of a batch must start no other batch."""
    subject = f"trigger {rule.name}"
    if rule.watches_output(output):
        message = f"It watches PIPELINE_OUTPUT ({output}): objects in the output folder start no batch."
        yield wrong(subject, message, "Watch another prefix, or set another PIPELINE_OUTPUT.")
        return
    for inner in filter(None, (rule.output, output)):
        if inner.startswith(rule.watch):
            message = f"It watches the output folder {inner}, too: objects there start no batch."
            yield note(subject, message, "Watch a prefix without outputs.")


def _check_listener(settings: Settings) -> Finding:
    if TriggerStore.connect(settings.redis_url).has_listener():
        return ok("listener", "running")
    monitor = QueueMonitor(settings.redis_url)
    message = "No listener runs: no prefix is listed, no queue is read, and no gathered image is submitted."
    fix = "Start `dailies up`, or the listener of the Procfile."
    is_service_running = bool(monitor.workers()) or monitor.schedulers() > 0
    return wrong("listener", message, fix) if is_service_running else note("listener", message, fix)


def _check_prefix(rule: Rule, storage: Storage) -> None:
    next(storage.list(rule.watch), None)
    probe = status_uri(f"{rule.watch}.dailies-check")
    storage.put(probe, b"{}", "application/json")
    storage.delete(probe)


def _check_push_token(settings: Settings, rules: Sequence[Rule]) -> Iterator[Finding]:
    if settings.api_token is None and any(rule.source is Source.PUSH for rule in rules):
        message = "PIPELINE_API_TOKEN is not set: /events/s3 accepts no object events."
        yield wrong(
            "triggers", message, "Set PIPELINE_API_TOKEN, and PIPELINE_EVENTS_TOKEN for the sender of the events."
        )
