"""`/metrics` for Prometheus, from the ledger and RQ: every process answers the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from pipeline.batches.queue_monitor import QueueMonitor, QueueStats
from pipeline.batches.service import Service
from pipeline.domain.states import TERMINAL
from pipeline.ledger.counters import BOUNDS_S, Latencies, ServiceCounters
from pipeline.ledger.records import AccountRow

_ENDS = sorted(TERMINAL)


def blueprint(service: Service) -> Blueprint:
    """`GET /metrics`."""
    routes = Blueprint("metrics", __name__)
    queue_monitor = QueueMonitor(service.settings.redis_url)

    @routes.get("/metrics")
    def metrics() -> Response:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Read(service.ledger.counters.read(), service.ledger.account.get(), queue_monitor.figures()))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes


class _Read(Collector):
    """One reading, as metrics."""

    def __init__(self, figures: ServiceCounters, account: AccountRow, queue: QueueStats) -> None:
        self._figures = figures
        self._account = account
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        yield from self._items()
        yield from self._money()
        yield from self._runs()
        yield from self._work()

    def _items(self) -> Iterator[Metric]:
        figures = self._figures
        yield _gauge("dailies_open_batches", "Batches whose results are not written.", figures.open_batches)
        items = GaugeMetricFamily("dailies_items", "Items of open batches by state.", labels=["state"])
        for state, number in figures.items.items():
            items.add_metric([state], number)
        yield items
        yield _counters(
            "dailies_items_ended",
            "Items that came to this end.",
            "state",
            {end: figures.ended.get(end, 0) for end in _ENDS},
        )

    def _money(self) -> Iterator[Metric]:
        # Prometheus knows floats only; the exact figure is in the API.
        yield _counter("dailies_spend_usd", "What runs cost, in US dollars.", float(self._figures.spend_usd))

    def _runs(self) -> Iterator[Metric]:
        figures, account = self._figures, self._account
        yield _gauge("dailies_active_runs", "Runs that may be active at the vendor.", account.active)
        if account.concurrency_limit is not None:
            yield _gauge(
                "dailies_window_runs", "Most runs at a time; absent while none is known.", account.concurrency_limit
            )
        yield _gauge("dailies_account_paused", "1 while nothing is submitted.", int(bool(account.paused_reason)))
        yield _gauge("dailies_account_backoff", "1 while the vendor makes us wait.", int(bool(account.backoff_reason)))
        yield _counter("dailies_retries", "Attempts that were spent and came to nothing.", figures.retried)
        yield _counter("dailies_refusals", "Attempts that were only turned away.", figures.refused)
        yield _counters("dailies_callbacks", "Callbacks by what came of them.", "outcome", figures.callbacks)
        steps = HistogramMetricFamily(
            "dailies_step_seconds", "How long steps of successful runs took.", labels=["step"]
        )
        for step, latencies in figures.latencies.items():
            steps.add_metric([step], _buckets(latencies), latencies.sum_s)
        yield steps

    def _work(self) -> Iterator[Metric]:
        queue = self._queue
        yield _gauge("dailies_due_lag_seconds", "How long the first due run has waited.", self._figures.due_lag_s)
        yield _gauge("dailies_queue_jobs", "Jobs that wait for a worker.", queue.waiting)
        yield _gauge("dailies_queue_age_seconds", "How long the first of them has waited.", queue.oldest_s)
        yield _gauge("dailies_delayed_jobs", "Jobs that wait for their time.", queue.delayed)
        yield _gauge("dailies_failed_jobs", "Jobs that broke in the last day.", queue.failed)
        yield _gauge("dailies_workers", "Workers that are alive.", queue.workers)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)


def _counter(name: str, what: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, what, value=value)


def _counters(name: str, what: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, what, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _buckets(latencies: Latencies) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them: each counts all that took no longer."""
    names = [*map(str, map(float, BOUNDS_S)), "+Inf"]
    return list(zip(names, map(float, accumulate(latencies.counts)), strict=True))
