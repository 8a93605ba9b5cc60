"""Object events become batches, the same way for every source.

An event only names an object. The dispatcher reads the object's current version from S3, so repeated, late and
reordered events are harmless: the newest version starts one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain

import structlog

from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.pricing import Ceiling
from pipeline.batches.service import Service
from pipeline.batches.submission import Submission
from pipeline.domain.batch_files import BATCH_OBJECTS
from pipeline.domain.model import Manifest
from pipeline.errors import BatchAboveCeiling, BatchOnlyOnS3, InvalidManifest, Problem
from pipeline.manifest.loader import LoadedManifest
from pipeline.settings import Settings
from pipeline.storage import journal
from pipeline.storage.s3 import ObjectInfo, Storage
from pipeline.storage.stored_images import sniff_object
from pipeline.triggers import object_version
from pipeline.triggers.events import Kind, ObjectEvent
from pipeline.triggers.isolation import for_each
from pipeline.triggers.object_manifest import MAX_MANIFEST_BYTES, ObjectManifestReader, images_manifest
from pipeline.triggers.object_version import ObjectVersion
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.status_files import StatusFiles
from pipeline.triggers.store import TriggerStore

log = structlog.get_logger()

MAX_GATHERED = 1000
"""How many images a gather window holds; further images open the next window."""
MISSING_WAIT_S = 120.0
"""For how long an event's object may be missing before the event is dropped."""
_MAX_CONCURRENT_STATUS_WRITES = 8
_MAX_LOGGED_PROBLEMS = 10


class EventOutcome(StrEnum):
    """The result of an object event for one rule. All but DEFERRED and MISSING are final."""

    STARTED = "started"
    GATHERED = "gathered"
    KNOWN = "known"
    REJECTED = "rejected"
    IGNORED = "ignored"
    DEFERRED = "deferred"
    """The rule has started enough batches today: the event must be delivered again on the next UTC day."""
    MISSING = "missing"
    """The object is not there yet: the event must be delivered again soon."""


@dataclass(frozen=True)
class Dispatcher:
    """Starts batches from object events. Thread-safe."""

    settings: Settings
    storage: Storage
    models: ModelCatalog
    submission: Submission
    store: TriggerStore
    status_files: StatusFiles

    @classmethod
    def of(cls, service: Service) -> Dispatcher:
        """Return the dispatcher on the servers of `service`."""
        store = TriggerStore.connect(service.settings.redis_url)
        files = StatusFiles(service.storage)
        return cls(service.settings, service.storage, service.models, service.submission, store, files)

    def handle(self, event: ObjectEvent, rules: Iterable[Rule]) -> list[EventOutcome]:
        """Process one event for each of the `rules` that covers the object.

        Raises StorageError, Unreachable, InvalidSettings: then the event must be delivered again.
        """
        if event.kind is not Kind.CREATED:
            log.info("event_ignored", object=event.uri, reason=f"kind {event.kind}")
            return [EventOutcome.IGNORED]
        events = [event, *(replace(event, key=key) for key in event.other_keys)]
        covering = [rule for rule in rules if any(rule.covers(one.uri) for one in events)]
        if not covering:
            log.info("event_ignored", object=event.uri, reason="no rule watches this prefix")
            return [EventOutcome.IGNORED]
        return for_each(covering, lambda rule: self._handle_existing(events, rule))

    def handle_all(self, events: Iterable[ObjectEvent], rules: Sequence[Rule]) -> list[EventOutcome]:
        """Process the events of a message. Raises the same errors as `handle`, after the last event."""
        return list(chain.from_iterable(for_each(events, lambda event: self.handle(event, rules))))

    def submit_gathered(self, rule: Rule) -> None:
        """Submit the images of a rule's closed gather windows. Raises the same errors as `handle`."""
        for_each(self.store.closed_windows(rule.name, rule.gather_s), lambda number: self._submit_window(rule, number))

    def _submit_window(self, rule: Rule, number: str) -> None:
        gathered = self.store.window(rule.name, number)
        if not gathered or self._submit_gathered(rule, gathered) is not EventOutcome.DEFERRED:
            self.store.forget_window(rule.name, number)

    def _submit_gathered(self, rule: Rule, versions: Sequence[ObjectVersion]) -> EventOutcome:
        return EventOutcome.DEFERRED if self._is_deferred(rule, versions) else self._submit_images(rule, versions)

    def _handle_existing(self, events: Sequence[ObjectEvent], rule: Rule) -> EventOutcome:
        """Process the first of `events`, the readings of one key, whose object exists."""
        covered = [event for event in events if rule.covers(event.uri)]
        first, *others = covered
        outcome = self._handle(first, rule)
        for event in others if outcome is EventOutcome.MISSING else ():
            found = self._handle(event, rule)
            if found not in (EventOutcome.MISSING, EventOutcome.IGNORED):
                log.info("object_key_decoded", trigger=rule.name, notified=first.uri, object=event.uri)
                return found
        return self._not_found(covered, rule) if outcome is EventOutcome.MISSING else outcome

    def _not_found(self, events: Sequence[ObjectEvent], rule: Rule) -> EventOutcome:
        """Return MISSING for a while after the first look: a listing or an event may be ahead of the object."""
        first = events[0]
        identity = "\0".join((first.uri, first.version_id, first.etag, first.sequencer))
        is_dropped = self.store.missing_for_s(rule.name, identity) >= MISSING_WAIT_S
        log.warning(
            "object_not_found",
            trigger=rule.name,
            object=first.uri,
            sequencer=first.sequencer,
            also_tried=[event.uri for event in events[1:]],
            is_dropped=is_dropped,
        )
        return EventOutcome.IGNORED if is_dropped else EventOutcome.MISSING

    def _handle(self, event: ObjectEvent, rule: Rule) -> EventOutcome:
        version = ObjectVersion(event.bucket, event.key, rule.version_of(event.version_id, event.etag))
        outputs = [rule.output, self.settings.output]
        reason = rule.reason_to_ignore(version, [output for output in outputs if output])
        if reason or self._is_in_batch_folder(version, rule):
            log.info("object_ignored", trigger=rule.name, object=version.uri, reason=reason or "a batch wrote it")
            return EventOutcome.IGNORED
        if version.version and self._is_processed(version, rule):
            return _already_processed(version, rule)
        if not rule.gather_s and self._is_deferred(rule, [version]):
            return EventOutcome.DEFERRED
        return self._handle_image(event, rule) if rule.start is Start.IMAGES else self._handle_manifest(event, rule)

    def _is_in_batch_folder(self, version: ObjectVersion, rule: Rule) -> bool:
        """Return whether an object is in the folder of a batch: a batch must not start another one by its output.

        If Redis has lost the batch, its journal on S3 shows it.
        """
        watched = len(rule.watch.removeprefix(f"s3://{rule.bucket}/"))
        for start, end in _name_spans(version.key.rpartition("/")[0]):
            folder = f"s3://{version.bucket}/{version.key[:end]}/"
            if end < watched or start == end:
                continue
            if self.store.output_of(version.key[start:end]) == folder:
                return True
            if version.key[end + 1 :].startswith(BATCH_OBJECTS) and journal.is_started(self.storage, folder):
                return True
        return False

    def _is_processed(self, version: ObjectVersion, rule: Rule) -> bool:
        if rule.gather_s:
            return self.store.is_taken(rule.name, version)
        return self.store.is_reported(object_version.batch_id(rule.name, [version]))

    # Manifests

    def _handle_manifest(self, event: ObjectEvent, rule: Rule) -> EventOutcome:
        stored = self.storage.get_with_info(event.uri, MAX_MANIFEST_BYTES + 1)
        if stored is None:
            return EventOutcome.MISSING
        info, text = stored
        version = _current_version(event, info, rule)
        try:
            reader = ObjectManifestReader(self.settings, self.storage, self.models.for_checks(), rule)
            manifest = reader.manifest(version, text)
        except InvalidManifest as error:
            return self._reject(rule, version, error.problems)
        return self._submit(rule, [version], manifest, _ceilings(rule))

    def _submit(
        self, rule: Rule, versions: Sequence[ObjectVersion], manifest: Manifest, ceilings: Sequence[Ceiling] = ()
    ) -> EventOutcome:
        batch_id, trigger = object_version.batch_id(rule.name, versions), f"trigger:{rule.name}"
        if self.store.is_reported(batch_id):
            return _already_processed(versions[0], rule)
        day = self.store.count_batch(rule.name, batch_id, rule.batches_per_day)
        if day is None and self._is_deferred(rule, versions):
            return EventOutcome.DEFERRED
        self.store.record_objects(batch_id, versions)
        try:
            accepted = self.submission.submit(manifest, batch_id, trigger=trigger, folder=None, ceilings=ceilings)
        except BatchOnlyOnS3 as error:
            # Redis has lost the batch, or it was forgotten: what was started before is not started again.
            self.store.drop_objects(batch_id)
            log.warning("batch_only_on_s3", trigger=rule.name, batch=batch_id, error=str(error))
            return EventOutcome.KNOWN
        except BatchAboveCeiling as error:
            if day is not None:
                self.store.withdraw_batch(rule.name, batch_id, day)
            message = str(error)
            _write_each(versions, lambda one: self._reject(rule, one, [Problem(one.uri, 1, 1, message)]))
            return EventOutcome.REJECTED
        log.info("trigger_fired", trigger=rule.name, batch=batch_id, objects=len(versions), first=versions[0].uri)
        _write_each(versions, lambda one: self.status_files.accepted(one, batch_id, accepted.output))
        self.store.mark_reported(batch_id)
        self.store.record_last_batch(rule.name, batch_id)
        return EventOutcome.STARTED if accepted.created else EventOutcome.KNOWN

    def _is_deferred(self, rule: Rule, versions: Sequence[ObjectVersion]) -> bool:
        """Return whether these objects wait for the next day. Their status files get the reason, once a day."""
        batch_id = object_version.batch_id(rule.name, versions)
        day = self.store.full_day(rule.name, rule.batches_per_day)
        # A counted batch may be about to start, or its listener was killed before it did.
        if day is None or self.store.is_counted(rule.name, batch_id, day) or self.store.output_of(batch_id) is not None:
            return False
        if self.store.deferred(rule.name, [batch_id], day) == [False]:
            reason = _reason_to_wait(rule)
            _write_each(versions, lambda one: self.status_files.waiting(one, reason))
            if self.store.record_deferred(rule.name, batch_id, len(versions), day):
                log.warning("trigger_day_full", trigger=rule.name, object=versions[0].uri, reason=reason)
        return True

    def _reject(self, rule: Rule, version: ObjectVersion, problems: Sequence[Problem]) -> EventOutcome:
        errors = [str(problem) for problem in problems[:_MAX_LOGGED_PROBLEMS]]
        log.warning("object_rejected", trigger=rule.name, object=version.uri, errors=errors)
        self.status_files.rejected(version, problems)
        return EventOutcome.REJECTED

    # Images

    def _handle_image(self, event: ObjectEvent, rule: Rule) -> EventOutcome:
        info = self.storage.info(event.uri)
        if info is None:
            return EventOutcome.MISSING
        version = _current_version(event, info, rule)
        image = sniff_object(self.storage, info)
        if isinstance(image, str):
            return self._reject(rule, version, [Problem(version.uri, 1, 1, f"the image {image}")])
        if not rule.gather_s:
            return self._submit_images(rule, [version])
        if self._has_status_of(rule, version):
            return _already_processed(version, rule)
        is_new = self.store.gather(rule.name, version, limit=MAX_GATHERED)
        return EventOutcome.GATHERED if is_new else EventOutcome.KNOWN

    def _has_status_of(self, rule: Rule, version: ObjectVersion) -> bool:
        """Return whether S3 records a batch of this rule for the image: Redis may have lost that it was gathered."""
        batch_id = self.status_files.batch_of(version)
        return batch_id is not None and batch_id.startswith(f"{rule.name}-")

    def _submit_images(self, rule: Rule, versions: Sequence[ObjectVersion]) -> EventOutcome:
        uris = sorted(version.uri for version in versions)
        try:
            manifest = images_manifest(rule, uris, self.models.for_checks())
            LoadedManifest(manifest, None).check_notify(self.settings.notify_hosts)
        except InvalidManifest as error:
            # The rule does not fit its model, or the settings.
            problems = error.problems
            _write_each(versions, lambda version: self._reject(rule, version, problems))
            return EventOutcome.REJECTED
        return self._submit(rule, versions, manifest)


def _write_each(versions: Sequence[ObjectVersion], write: Callable[[ObjectVersion], object]) -> None:
    """Write the status files of many objects at the same time. Raises the first error."""
    with ThreadPoolExecutor(_MAX_CONCURRENT_STATUS_WRITES) as executor:
        list(executor.map(write, versions))


def _ceilings(rule: Rule) -> list[Ceiling]:
    budget_usd = rule.limits.budget_usd if rule.limits else None
    return [] if budget_usd is None else [Ceiling(f"limits.budget_usd of the rule {rule.name!r}", budget_usd)]


def _reason_to_wait(rule: Rule) -> str:
    start = "It starts this object's batch on the next day"
    if rule.source is not Source.LISTING:
        start += ", when the event is delivered again; if it is not, upload the object again"
    return (
        f"The rule {rule.name!r} has started {rule.batches_per_day:,} batches on this UTC day, as many as its "
        f"batches_per_day allows. {start}. To start it today, raise batches_per_day in triggers.yaml."
    )


def _name_spans(path: str) -> Iterable[tuple[int, int]]:
    """Yield the start and end of each name of a path."""
    start = 0
    for name in path.split("/"):
        yield start, start + len(name)
        start += len(name) + 1


def _current_version(event: ObjectEvent, info: ObjectInfo, rule: Rule) -> ObjectVersion:
    notified, current = (event.version_id, info.version) if event.version_id else (event.etag, info.etag.strip('"'))
    if notified and notified != current:
        log.info("object_superseded", trigger=rule.name, object=event.uri, notified=notified, current=current)
    return ObjectVersion(event.bucket, event.key, rule.version_of(info.version, info.etag))


def _already_processed(version: ObjectVersion, rule: Rule) -> EventOutcome:
    log.info("object_already_processed", trigger=rule.name, object=version.uri)
    return EventOutcome.KNOWN
