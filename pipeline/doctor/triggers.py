"""The triggers: their file, and the rights that each rule needs on its bucket and its queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.doctor.findings import Finding, note, ok, one_line, wrong
from pipeline.errors import DailiesError
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.object_version import status_uri
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rule_loader import load
from pipeline.triggers.sqs import Queue


def check_triggers(settings: Settings) -> Iterator[Finding]:
    """Check that new objects will start batches."""
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
        yield from _check_rule(rule, storage)
    yield from _check_push_token(settings, rules)


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
