"""Whether every trigger can do its work: for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import DailiesError
from pipeline.settings import Settings
from pipeline.storage import Storage
from pipeline.triggers.drops import status_uri
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rulebook import load
from pipeline.triggers.sqs import Queue


def check(settings: Settings) -> Iterator[tuple[bool, str]]:
    """For every trigger whether it can work, and what is so or wrong, in words."""
    try:
        rules = load(settings.triggers)
    except (DailiesError, OSError) as error:
        yield False, str(error)
        return
    storage = Storage(settings.s3_endpoint)
    for rule in rules:
        try:
            yield True, f"{rule.name}: {', '.join(_told(rule, storage))}"
        except DailiesError as error:
            yield False, f"{rule.name}: {error}"


def _told(rule: Rule, storage: Storage) -> Iterator[str]:
    next(storage.list(rule.watch), None)
    probe = status_uri(f"{rule.watch}.dailies-check")
    storage.put(probe, b"{}", "application/json")
    storage.delete(probe)
    yield f"{rule.watch} can be listed, and statuses written there"
    if rule.source is Source.SQS:
        attributes = Queue([rule]).check()
        redrive = (
            "has a redrive policy" if "RedrivePolicy" in attributes else "has NO redrive policy (docs/triggers.md)"
        )
        yield f"the queue answers and {redrive}"
