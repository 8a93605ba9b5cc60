"""Word of objects by looking: the inbox is listed, and what was not there before is new. Works with any S3 server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import structlog

from pipeline.errors import StorageError
from pipeline.storage.s3 import ObjectInfo, split
from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.events import Kind, ObjectEvent
from pipeline.triggers.object_version import ObjectVersion
from pipeline.triggers.rule import Rule

log = structlog.get_logger()

_CHUNK = 500
_MAX_CONCURRENT = 8


class PrefixPoller:
    """The place that a rule lists. In memory is a handful of its objects, however many there are."""

    waits = False

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.pause_s = rule.every_s
        self._executor = ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix=f"list-{rule.name}")

    def step(self, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        """List the inbox once, unless another listener has just done so, and see to what is new.

        Raises StorageError, Unreachable, InvalidSettings.
        """
        rule, memory = self._rule, dispatcher.memory
        # A little less than the pause between two looks, so that our own last turn does not keep us out.
        if not memory.acquire_turn(rule.name, rule.every_s * 0.9):
            return
        began = time.time()
        for objects in _chunks(dispatcher.service.storage.list(rule.watch), _CHUNK):
            new = memory.unlisted(rule.name, [info for info in objects if self._is_ours(info)], began)
            # Going through the answers raises what a hand has raised.
            list(self._executor.map(lambda info: self._see_to(info, dispatcher, stopping), new))
            if stopping.is_set():
                return
        memory.forget_missing(rule.name, began)

    def close(self) -> None:
        """There will be no further step."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _is_ours(self, info: ObjectInfo) -> bool:
        return self._rule.why_not(ObjectVersion(*split(info.uri), ""), ()) is None

    def _see_to(self, info: ObjectInfo, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        if stopping.is_set():
            return
        bucket, key = split(info.uri)
        event = ObjectEvent(Kind.CREATED, bucket, key, etag=info.etag.strip('"'), size=info.size)
        try:
            dispatcher.handle(event, [self._rule])
        except StorageError as error:
            # The next look finds it again.
            log.warning("object_left", trigger=self._rule.name, object=info.uri, error=str(error))
        else:
            dispatcher.memory.record_listed(self._rule.name, info, time.time())


def _chunks(objects: Iterable[ObjectInfo], size: int) -> Iterator[list[ObjectInfo]]:
    rest = iter(objects)
    while chunk := list(islice(rest, size)):
        yield chunk
