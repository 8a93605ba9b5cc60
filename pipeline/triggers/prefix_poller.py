"""Object events by listing: new objects below the watched prefix. Works with any S3 server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from pipeline.domain.chunks import chunked
from pipeline.errors import DailiesError, InvalidSettings, Unreachable
from pipeline.storage.s3 import ObjectInfo, split
from pipeline.triggers.dispatch import Dispatcher, EventOutcome
from pipeline.triggers.events import Kind, ObjectEvent
from pipeline.triggers.object_version import ObjectVersion, batch_id, version_of
from pipeline.triggers.rule import Rule
from pipeline.triggers.store import TriggerStore

log = structlog.get_logger()

_CHUNK = 500
_MAX_CONCURRENT = 8
_TURN_SHARE = 0.9
"""A listener's turn lasts a little less than the interval, so that its own last turn does not block its next one."""


class PrefixPoller:
    """Lists the watched prefix of a rule. At most a chunk of its objects is in memory."""

    is_idle = False

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.pause_s = rule.every_s
        self._executor = ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix=f"list-{rule.name}")

    def run_once(self, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        """List the prefix once and process new objects, unless another listener has just done so.

        Raises StorageError, Unreachable, InvalidSettings.
        """
        rule, store = self._rule, dispatcher.store
        if not store.acquire_turn(rule.name, rule.every_s * _TURN_SHARE):
            return
        began, is_any_listed = time.time(), False
        for objects in chunked(dispatcher.storage.list(rule.watch), _CHUNK):
            is_any_listed = True
            new = store.unlisted(rule.name, [info for info in objects if self._is_accepted(info)], began)
            new = self._without_deferred(new, store)
            # list() raises the first error of a call.
            list(self._executor.map(lambda info: self._process(info, dispatcher, stopping), new))
            if stopping.is_set():
                return
        if is_any_listed:
            # An empty listing may be a fault.
            store.forget_missing(rule.name, began)

    def close(self) -> None:
        """Release the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _is_accepted(self, info: ObjectInfo) -> bool:
        return self._rule.reason_to_ignore(ObjectVersion(*split(info.uri), ""), ()) is None

    def _without_deferred(self, infos: list[ObjectInfo], store: TriggerStore) -> list[ObjectInfo]:
        """Return the objects without those that wait for the next day by their status files."""
        day = store.full_day(self._rule.name, self._rule.batches_per_day) if infos else None
        if day is None:
            return infos
        versions = [ObjectVersion(*split(info.uri), version_of("", info.etag)) for info in infos]
        ids = [batch_id(self._rule.name, [version]) for version in versions]
        deferred = store.deferred(self._rule.name, ids, day)
        return [info for info, is_deferred in zip(infos, deferred, strict=True) if not is_deferred]

    def _process(self, info: ObjectInfo, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        if stopping.is_set():
            return
        bucket, key = split(info.uri)
        event = ObjectEvent(Kind.CREATED, bucket, key, etag=info.etag.strip('"'), size=info.size)
        try:
            outcomes = dispatcher.handle(event, [self._rule])
        except (Unreachable, InvalidSettings):
            raise
        except DailiesError as error:
            # The next listing has it again.
            log.warning("object_deferred", trigger=self._rule.name, object=info.uri, error=str(error))
        except Exception:
            # The other objects go on.
            log.exception("object_crashed", trigger=self._rule.name, object=info.uri)
        else:
            if EventOutcome.DEFERRED not in outcomes and EventOutcome.MISSING not in outcomes:
                dispatcher.store.record_listed(self._rule.name, info, time.time())
