"""`GET /metrics` for Prometheus. The values are in Redis, so every web process returns the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from pipeline.batches.queue_monitor import QueueMonitor, QueueStats
from pipeline.domain.states import TERMINAL
from pipeline.ledger.account import AccountStore
from pipeline.ledger.counters import BOUNDS_S, CounterStore, Latencies, ServiceCounters
from pipeline.ledger.records import AccountRow

_TERMINAL_STATES = sorted(TERMINAL)


def blueprint(counters: CounterStore, account: AccountStore, queue_monitor: QueueMonitor) -> Blueprint:
    """Return the route."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(counters.read(), account.get(), queue_monitor.figures()))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes


class _Snapshot(Collector):
    def __init__(self, counters: ServiceCounters, account: AccountRow, queue: QueueStats) -> None:
        self._counters = counters
        self._account = account
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        yield from self._items()
        yield from self._money()
        yield from self._runs()
        yield from self._work()

    def _items(self) -> Iterator[Metric]:
        counters = self._counters
        yield _gauge("dailies_open_batches", "Batches whose results are not written.", counters.open_batches)
        items = GaugeMetricFamily("dailies_items", "Items of open batches by state.", labels=["state"])
        for state, number in counters.items.items():
            items.add_metric([state], number)
        yield items
        yield _counter("dailies_archived_batches", "Batches whose items have left Redis.", counters.archived)
        yield _counter(
            "dailies_failed_archivings",
            "Attempts to archive a batch that failed: S3 lacks results, or failed.",
            counters.not_archived,
        )
        yield _counters(
            "dailies_items_ended",
            "Items that ended in this state.",
            "state",
            {state: counters.ended.get(state, 0) for state in _TERMINAL_STATES},
        )

    def _money(self) -> Iterator[Metric]:
        # Prometheus has floats only. The API returns the exact amount.
        yield _counter("dailies_spend_usd", "Cost of all runs in US dollars.", float(self._counters.spend_usd))
        yield _counter(
            "dailies_overcharged_runs",
            "Runs that the vendor charged far above the expected price.",
            self._counters.overcharged,
        )
        yield _counter(
            "dailies_reused_items", "Items whose outputs were copied in place of a run.", self._counters.reused
        )
        account = self._account
        if account.day_limit_usd is not None:
            limit = float(account.day_limit_usd)
            yield _gauge("dailies_day_limit_usd", "Ceiling of a UTC day in US dollars; absent without one.", limit)
        yield _gauge(
            "dailies_day_limit_reached",
            "1 while runs wait because of the ceiling of the day.",
            int(bool(account.waits_until)),
        )

    def _runs(self) -> Iterator[Metric]:
        counters, account = self._counters, self._account
        yield _gauge("dailies_active_runs", "Runs that may be active at the vendor.", account.active)
        if account.concurrency_limit is not None:
            yield _gauge(
                "dailies_concurrency_limit",
                "Concurrency limit of runs; absent if it is unknown.",
                account.concurrency_limit,
            )
        yield _gauge("dailies_account_paused", "1 while all submissions are paused.", int(bool(account.paused_reason)))
        reason = GaugeMetricFamily("dailies_account_pause_reason", "Why all submissions are paused.", labels=["reason"])
        if account.paused_reason:
            reason.add_metric([account.paused_reason], 1)
        yield reason
        yield _gauge(
            "dailies_account_backoff",
            "1 while submissions wait after a refusal of the vendor.",
            int(bool(account.backoff_reason)),
        )
        yield _counter("dailies_retries", "Failed attempts that count against limits.attempts.", counters.retried)
        yield _counter(
            "dailies_refusals", "Runs that the vendor refused; they do not count as attempts.", counters.refused
        )
        yield _counters("dailies_callbacks", "Callbacks by outcome.", "outcome", counters.callbacks)
        yield _counters("dailies_found_runs", "Runs found after their response was lost, by how.", "by", counters.found)
        steps = HistogramMetricFamily(
            "dailies_step_seconds", "Duration of the steps of successful runs.", labels=["step"]
        )
        for step, latencies in counters.latencies.items():
            steps.add_metric([step], _buckets(latencies), latencies.sum_s)
        yield steps

    def _work(self) -> Iterator[Metric]:
        queue = self._queue
        yield _counter(
            "dailies_deferred_objects",
            "Objects that waited for the next day, because of batches_per_day of their trigger.",
            self._counters.deferred,
        )
        yield _gauge("dailies_due_lag_seconds", "Time since the oldest due run became due.", self._counters.due_lag_s)
        yield _counter(
            "dailies_set_aside", "Records in queues that could not be read: `dailies doctor`.", self._counters.set_aside
        )
        yield _counter(
            "dailies_refused_jobs", "Jobs in Redis that are not of this service.", self._counters.refused_jobs
        )
        yield _gauge("dailies_queue_jobs", "Jobs that wait for a worker.", queue.waiting)
        yield _gauge("dailies_queue_age_seconds", "Time since the oldest of these jobs was enqueued.", queue.oldest_s)
        yield _gauge("dailies_delayed_jobs", "Jobs that are scheduled for later.", queue.delayed)
        yield _gauge("dailies_failed_jobs", "Jobs that crashed in the last 24 hours.", queue.failed)
        yield _gauge("dailies_workers", "Running workers.", queue.workers)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _buckets(latencies: Latencies) -> list[tuple[str, float]]:
    """Return cumulative buckets: each counts all durations up to its bound."""
    names = [*map(str, map(float, BOUNDS_S)), "+Inf"]
    return list(zip(names, map(float, accumulate(latencies.counts)), strict=True))
