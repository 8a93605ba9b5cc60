"""`listen`: everything that triggers need besides HTTP, a thread for each source, as the file has them now."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from pipeline.batches.service import Service
from pipeline.domain.retry_policy import backoff
from pipeline.errors import DailiesError, Unreachable
from pipeline.settings import Settings
from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.gather_window import GatherWindows
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.triggers.sqs import Queue

log = structlog.get_logger()

_REREAD_EVERY_S = 1.0
_LET_FINISH_S = 30.0


class EventSource(Protocol):
    """What one thread does, again and again."""

    pause_s: float
    waits: bool
    """Whether it waits for word and holds nothing: then it may be cut off."""

    def step(self, dispatcher: Dispatcher, stopping: threading.Event) -> None: ...

    def close(self) -> None: ...


Plan = tuple[Callable[[tuple[Rule, ...]], EventSource], tuple[Rule, ...]]
"""How a thread's work is made, and of which rules. Where both stay the same the thread goes on."""


class Listener:
    """Runs the sources of `triggers.yaml`. Any number of listeners may run, on any number of machines."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.triggers
        self._book = RuleLoader(settings.triggers)
        self._dispatcher = Dispatcher.of(Service.connect(settings))
        self._threads: dict[Plan, _Thread] = {}

    def run(self, stopping: threading.Event) -> None:
        """Listen until `stopping` is set; what is being worked on is finished. Raises IncompatibleSchema."""
        while not self._has_checked_schema():
            if stopping.wait(_REREAD_EVERY_S):
                return
        idle = False
        while True:
            self._arrange(plans(self._book.rules()))
            if not self._threads and not idle:
                log.info("nothing_to_listen_to", file=str(self._file))
            idle = not self._threads
            if stopping.wait(_REREAD_EVERY_S):
                break
        self._stop()

    def _has_checked_schema(self) -> bool:
        try:
            self._dispatcher.service.ledger.check_schema()
        except Unreachable as error:
            log.warning("schema_not_checked", error=str(error))
            return False
        return True

    def _arrange(self, wanted: set[Plan]) -> None:
        for plan in self._threads.keys() - wanted:
            self._threads.pop(plan).stopping.set()
        for plan in wanted - self._threads.keys():
            self._threads[plan] = _Thread(plan, self._dispatcher)
            self._threads[plan].start()

    def _stop(self) -> None:
        for thread in self._threads.values():
            thread.stopping.set()
        ends = time.monotonic() + _LET_FINISH_S
        for thread in self._threads.values():
            while thread.is_busy and time.monotonic() < ends:
                thread.join(0.05)


class _Thread(threading.Thread):
    def __init__(self, plan: Plan, dispatcher: Dispatcher) -> None:
        make, rules = plan
        self._names = [rule.name for rule in rules]
        super().__init__(name=f"listen-{self._names[0]}", daemon=True)
        self.stopping = threading.Event()
        self._listened = make(rules)
        self._dispatcher = dispatcher

    @property
    def is_busy(self) -> bool:
        return self.is_alive() and not self._listened.waits

    def run(self) -> None:
        failures = 0
        while not self.stopping.is_set():
            failures = 0 if self._stepped() else failures + 1
            self.stopping.wait(backoff(failures, random.random()) if failures else self._listened.pause_s)
        self._listened.close()

    def _stepped(self) -> bool:
        kind = type(self._listened).__name__.lower()
        try:
            self._listened.step(self._dispatcher, self.stopping)
        except DailiesError as error:
            log.warning("source_failed", source=kind, triggers=self._names, error=str(error))
        except Exception as error:
            log.error("source_broke", source=kind, triggers=self._names, exc_info=error)
        else:
            return True
        return False


def plans(rules: Iterable[Rule]) -> set[Plan]:
    """What is to be done for `rules`. All rules of a queue share its messages."""
    queues: defaultdict[str, list[Rule]] = defaultdict(list)
    found: set[Plan] = set()
    for rule in rules:
        if rule.source is Source.SQS:
            queues[rule.queue_url].append(rule)
        if rule.source is Source.LISTING:
            found.add((_inbox, (rule,)))
        if rule.start is Start.IMAGES and rule.gather_s:
            found.add((_windows, (rule,)))
    return found | {(Queue, tuple(sharing)) for sharing in queues.values()}


def _inbox(rules: tuple[Rule, ...]) -> EventSource:
    return PrefixPoller(rules[0])


def _windows(rules: tuple[Rule, ...]) -> EventSource:
    return GatherWindows(rules[0])
