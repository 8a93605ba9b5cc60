"""`listen`: one thread for each source of triggers.yaml; the threads follow the file's changes."""

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
from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.gather_window import GatherWindows
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.triggers.sqs import Queue

log = structlog.get_logger()

_RELOAD_INTERVAL_S = 1.0
_DRAIN_WAIT_S = 30.0
_SIGN_INTERVAL_S = 20.0
"""Seconds between two records that a listener runs."""


class EventSource(Protocol):
    """What one thread runs repeatedly."""

    pause_s: float
    """Seconds between two runs."""
    is_idle: bool
    """Whether it only waits for events: then it can be stopped at any time."""

    def run_once(self, dispatcher: Dispatcher, stopping: threading.Event) -> None: ...

    def close(self) -> None: ...


ThreadPlan = tuple[Callable[[tuple[Rule, ...]], EventSource], tuple[Rule, ...]]
"""How a thread's source is made, and its rules. While both stay equal the thread keeps running."""


class Listener:
    """Runs the sources of `triggers.yaml`. Several listeners can run, on several hosts."""

    def __init__(self, rule_loader: RuleLoader, dispatcher: Dispatcher, check_schema: Callable[[], None]) -> None:
        self._rule_loader = rule_loader
        self._dispatcher = dispatcher
        self._check_schema = check_schema
        self._threads: dict[ThreadPlan, _SourceThread] = {}
        self._next_sign = 0.0

    @classmethod
    def of(cls, service: Service) -> Listener:
        """Return the listener on the servers and the file of `service`."""
        return cls(
            RuleLoader(service.settings.triggers, service.settings.output),
            Dispatcher.of(service),
            service.ledger.check_schema,
        )

    def run(self, stopping: threading.Event) -> None:
        """Run until `stopping` is set, then finish the objects in progress. Raises IncompatibleSchema."""
        while not self._has_checked_schema():
            if stopping.wait(_RELOAD_INTERVAL_S):
                return
        was_idle = False
        while True:
            try:
                self._update_threads(thread_plans(self._rule_loader.rules()))
            except Exception:
                # The threads that run go on, and the rest is tried again.
                log.exception("triggers_not_updated", file=str(self._rule_loader.file))
            self._record_sign()
            if not self._threads and not was_idle:
                log.info("listener_idle", file=str(self._rule_loader.file))
            was_idle = not self._threads
            if stopping.wait(_RELOAD_INTERVAL_S):
                break
        self._stop()

    def _record_sign(self) -> None:
        """Record now and then that this listener runs: `doctor` reports rules that no listener follows."""
        now = time.monotonic()
        if now < self._next_sign:
            return
        self._next_sign = now + _SIGN_INTERVAL_S
        try:
            self._dispatcher.store.record_listener()
        except Exception as error:
            # The sources go on.
            log.warning("listener_not_recorded", error=str(error))

    def _has_checked_schema(self) -> bool:
        try:
            self._check_schema()
        except Unreachable as error:
            log.warning("schema_not_checked", error=str(error))
            return False
        return True

    def _update_threads(self, plans: set[ThreadPlan]) -> None:
        for plan in self._threads.keys() - plans:
            self._threads.pop(plan).stopping.set()
        for plan in plans - self._threads.keys():
            self._threads[plan] = _SourceThread(plan, self._dispatcher)
            self._threads[plan].start()

    def _stop(self) -> None:
        for thread in self._threads.values():
            thread.stopping.set()
        deadline = time.monotonic() + _DRAIN_WAIT_S
        for thread in self._threads.values():
            while thread.is_busy and time.monotonic() < deadline:
                thread.join(0.05)


class _SourceThread(threading.Thread):
    def __init__(self, plan: ThreadPlan, dispatcher: Dispatcher) -> None:
        make, rules = plan
        self._rule_names = [rule.name for rule in rules]
        super().__init__(name=f"listen-{self._rule_names[0]}", daemon=True)
        self.stopping = threading.Event()
        self._source = make(rules)
        self._dispatcher = dispatcher

    @property
    def is_busy(self) -> bool:
        return self.is_alive() and not self._source.is_idle

    def run(self) -> None:
        failures = 0
        while not self.stopping.is_set():
            failures = 0 if self._run_once() else failures + 1
            self.stopping.wait(backoff(failures, random.random()) if failures else self._source.pause_s)
        self._source.close()

    def _run_once(self) -> bool:
        """Run the source once. Return False if it failed."""
        kind = type(self._source).__name__
        try:
            self._source.run_once(self._dispatcher, self.stopping)
        except DailiesError as error:
            log.warning("source_failed", source=kind, triggers=self._rule_names, error=str(error))
        except Exception as error:
            log.error("source_crashed", source=kind, triggers=self._rule_names, exc_info=error)
        else:
            return True
        return False


def thread_plans(rules: Iterable[Rule]) -> set[ThreadPlan]:
    """Return the threads for `rules`. All rules of a queue share one thread, because they share its messages."""
    rules_by_queue: defaultdict[str, list[Rule]] = defaultdict(list)
    plans: set[ThreadPlan] = set()
    for rule in rules:
        if rule.source is Source.SQS:
            rules_by_queue[rule.queue_url].append(rule)
        if rule.source is Source.LISTING:
            plans.add((_prefix_poller, (rule,)))
        if rule.start is Start.IMAGES and rule.gather_s:
            plans.add((_gather_windows, (rule,)))
    return plans | {(Queue, tuple(sharing)) for sharing in rules_by_queue.values()}


def _prefix_poller(rules: tuple[Rule, ...]) -> EventSource:
    return PrefixPoller(rules[0])


def _gather_windows(rules: tuple[Rule, ...]) -> EventSource:
    return GatherWindows(rules[0])
