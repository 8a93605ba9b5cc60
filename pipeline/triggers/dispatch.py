"""From word of an object to a batch: the same for every source.

What was heard only says where to look. Which version lies there, whether it is whole and what it says is asked of
the store, so that events which come twice, late or in the wrong order do no harm: the newest version is taken, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import structlog

from pipeline.batches.service import Service
from pipeline.domain.model import Manifest
from pipeline.errors import BatchOnlyOnS3, InvalidManifest, Problem
from pipeline.storage.s3 import ObjectInfo
from pipeline.triggers import object_version
from pipeline.triggers.events import Kind, ObjectEvent
from pipeline.triggers.object_manifest import MAX_MANIFEST_BYTES, ObjectManifestReader, of_images
from pipeline.triggers.object_version import ObjectVersion
from pipeline.triggers.rule import Rule, Start
from pipeline.triggers.status_files import StatusFiles, version_of
from pipeline.triggers.store import TriggerStore

log = structlog.get_logger()

MAX_GATHERED = 1000
"""As many images as a window holds; more open the next one."""
_MAX_CONCURRENT_STATUS_WRITES = 8


class EventOutcome(StrEnum):
    """What became of an object. Whichever it is: there is nothing left to do."""

    STARTED = "started"
    GATHERED = "gathered"
    KNOWN = "known"
    REJECTED = "rejected"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Dispatcher:
    """Starts batches from objects. Thread-safe."""

    service: Service
    memory: TriggerStore
    statuses: StatusFiles

    @classmethod
    def of(cls, service: Service) -> Dispatcher:
        """For the servers of `service`."""
        memory = TriggerStore.connect(service.settings.redis_url)
        return cls(service, memory, StatusFiles(service.storage))

    def handle(self, event: ObjectEvent, rules: Iterable[Rule]) -> list[EventOutcome]:
        """See to one event; `rules` are all those of its source. Once it returns, the event may be forgotten.

        Raises StorageError, Unreachable, InvalidSettings: then it is to come again.
        """
        if event.kind is not Kind.CREATED:
            log.info("event_ignored", object=event.uri, why=f"kind {event.kind}")
            return [EventOutcome.IGNORED]
        covering = [rule for rule in rules if rule.covers(event.uri)]
        if not covering:
            log.info("event_ignored", object=event.uri, why="no rule watches there")
            return [EventOutcome.IGNORED]
        return [self._see_to(event, rule) for rule in covering]

    def submit_gathered(self, rule: Rule) -> None:
        """Submit what was gathered for a rule when its window is over. Raises as `handle` does."""
        for number in self.memory.closed_windows(rule.name, rule.gather_s):
            gathered = self.memory.window(rule.name, number)
            if gathered:
                self._submit_images(rule, gathered)
            self.memory.forget_window(rule.name, number)

    def _see_to(self, event: ObjectEvent, rule: Rule) -> EventOutcome:
        heard = ObjectVersion(event.bucket, event.key, version_of(event.version_id, event.etag))
        outputs = [rule.output, self.service.settings.output]
        why = rule.why_not(heard, [output for output in outputs if output])
        if why or self._is_of_a_batch(heard, rule):
            log.info("object_ignored", trigger=rule.name, object=heard.uri, why=why or "a batch wrote it")
            return EventOutcome.IGNORED
        if heard.version and self._is_done(heard, rule):
            log.info("object_known", trigger=rule.name, object=heard.uri)
            return EventOutcome.KNOWN
        return self._take_image(event, rule) if rule.start is Start.IMAGES else self._take_manifest(event, rule)

    def _is_of_a_batch(self, heard: ObjectVersion, rule: Rule) -> bool:
        """Whether an object lies in the folder of a batch: there is no loop, whatever a manifest says of its output."""
        watched = len(rule.watch.removeprefix(f"s3://{rule.bucket}/"))
        folders = heard.key.rpartition("/")[0]
        return any(
            self.memory.output_of(folders[start:end]) == f"s3://{heard.bucket}/{folders[:end]}/"
            for start, end in _names(folders)
            if end >= watched
        )

    def _is_done(self, heard: ObjectVersion, rule: Rule) -> bool:
        if rule.gather_s:
            return self.memory.is_taken(rule.name, heard)
        return self.memory.is_reported(object_version.batch_id(rule.name, [heard]))

    # Manifests

    def _take_manifest(self, event: ObjectEvent, rule: Rule) -> EventOutcome:
        found = self.service.storage.get_with_info(event.uri, MAX_MANIFEST_BYTES + 1)
        if found is None:
            return _vanished(event, rule)
        info, text = found
        drop = _as_it_lies(event, info, rule)
        try:
            manifest = ObjectManifestReader(self.service.settings, self.service.storage, rule).manifest(drop, text)
        except InvalidManifest as error:
            return self._reject(rule, drop, error.problems)
        return self._submit(rule, [drop], manifest)

    def _submit(self, rule: Rule, taken: Sequence[ObjectVersion], manifest: Manifest) -> EventOutcome:
        batch_id = object_version.batch_id(rule.name, taken)
        self.memory.record_objects(batch_id, taken)
        try:
            accepted = self.service.submission.submit(manifest, batch_id, trigger=f"trigger:{rule.name}", folder=None)
        except BatchOnlyOnS3 as error:
            # Redis was lost: what was started before is not started again.
            log.warning("batch_only_on_s3", trigger=rule.name, batch=batch_id, error=str(error))
            return EventOutcome.KNOWN
        log.info("trigger_fired", trigger=rule.name, batch=batch_id, objects=len(taken), first=taken[0].uri)
        with ThreadPoolExecutor(_MAX_CONCURRENT_STATUS_WRITES) as hands:
            # Going through the answers raises what a hand has raised.
            list(hands.map(lambda drop: self.statuses.accepted(drop, batch_id, accepted.output), taken))
        self.memory.mark_reported(batch_id)
        self.memory.record_last_batch(rule.name, batch_id)
        return EventOutcome.STARTED if accepted.created else EventOutcome.KNOWN

    def _reject(self, rule: Rule, drop: ObjectVersion, problems: Sequence[Problem]) -> EventOutcome:
        log.warning("object_rejected", trigger=rule.name, object=drop.uri, errors=[str(p) for p in problems[:10]])
        self.statuses.rejected(drop, problems)
        return EventOutcome.REJECTED

    # Images

    def _take_image(self, event: ObjectEvent, rule: Rule) -> EventOutcome:
        info = self.service.storage.info(event.uri)
        if info is None:
            return _vanished(event, rule)
        drop = _as_it_lies(event, info, rule)
        if info.size == 0:
            return self._reject(rule, drop, [Problem(drop.uri, 1, 1, "the image is empty")])
        if not rule.gather_s:
            return self._submit_images(rule, [drop])
        if self._was_accepted_before_redis_was_lost(rule, drop):
            log.info("object_known", trigger=rule.name, object=drop.uri)
            return EventOutcome.KNOWN
        return EventOutcome.GATHERED if self.memory.gather(rule.name, drop, limit=MAX_GATHERED) else EventOutcome.KNOWN

    def _was_accepted_before_redis_was_lost(self, rule: Rule, drop: ObjectVersion) -> bool:
        batch_id = self.statuses.batch_of(drop)
        return batch_id is not None and batch_id.startswith(f"{rule.name}-")

    def _submit_images(self, rule: Rule, taken: Sequence[ObjectVersion]) -> EventOutcome:
        manifest = of_images(rule, sorted(drop.uri for drop in taken))
        return self._submit(rule, taken, manifest)


def _names(folders: str) -> Iterable[tuple[int, int]]:
    """Where each name of a path begins and ends."""
    start = 0
    for name in folders.split("/"):
        yield start, start + len(name)
        start += len(name) + 1


def _as_it_lies(event: ObjectEvent, info: ObjectInfo, rule: Rule) -> ObjectVersion:
    heard, lies = (event.version_id, info.version) if event.version_id else (event.etag, info.etag.strip('"'))
    if heard and heard != lies:
        log.info("object_superseded", trigger=rule.name, object=event.uri, heard=heard, lies=lies)
    return ObjectVersion(event.bucket, event.key, version_of(info.version, info.etag))


def _vanished(event: ObjectEvent, rule: Rule) -> EventOutcome:
    log.warning("object_vanished", trigger=rule.name, object=event.uri, sequencer=event.sequencer)
    return EventOutcome.IGNORED
