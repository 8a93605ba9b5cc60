"""The triggers: their file, and whether each can do its work with the rights that it has."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.doctor import Finding, note, ok, wrong
from pipeline.errors import DailiesError
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.object_version import status_uri
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rule_loader import load
from pipeline.triggers.sqs import Queue


def triggers(settings: Settings) -> Iterator[Finding]:
    """Whether what is dropped will start batches."""
    try:
        rules = load(settings.triggers)
    except (DailiesError, OSError) as error:
        yield wrong(
            "triggers",
            f"the file is broken, what it said before is in force. {'; '.join(str(error).splitlines())}",
            "Mend the file: it is read again within a second.",
        )
        return
    storage = Storage(settings.s3_endpoint)
    for rule in rules:
        yield from _trigger(rule, storage)
    if any(rule.source is Source.PUSH for rule in rules):
        yield from _push(settings, rules)


def _trigger(rule: Rule, storage: Storage) -> Iterator[Finding]:
    subject = f"trigger {rule.name}"
    fix = "docs/triggers.md has the smallest policy and the commands that set up bucket, queue and notification."
    try:
        _try_out(rule, storage)
        attributes = Queue([rule]).check() if rule.source is Source.SQS else {}
    except DailiesError as error:
        yield wrong(subject, str(error), fix)
        return
    yield ok(
        subject, f"{rule.watch} can be listed and statuses written there{'; its queue answers' * bool(attributes)}"
    )
    if rule.source is Source.SQS and "RedrivePolicy" not in attributes:
        yield note(subject, "its queue has no redrive policy: a message that is no event comes again for days.", fix)


def _try_out(rule: Rule, storage: Storage) -> None:
    next(storage.list(rule.watch), None)
    probe = status_uri(f"{rule.watch}.dailies-check")
    storage.put(probe, b"{}", "application/json")
    storage.delete(probe)


def _push(settings: Settings, rules: tuple[Rule, ...]) -> Iterator[Finding]:
    if settings.api_token or settings.events_token or any(rule.topic_arn for rule in rules):
        return
    yield note(
        "triggers",
        "there is no token: word of objects is taken from this machine only.",
        "Set PIPELINE_EVENTS_TOKEN, or name the SNS topic as `topic_arn`.",
    )
