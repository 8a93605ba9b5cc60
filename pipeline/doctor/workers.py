"""Workers and schedulers, as RQ registers them."""

from __future__ import annotations

from collections.abc import Iterator

from redis.exceptions import ResponseError

from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.domain.formatting import pluralize
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings


def check_workers(settings: Settings) -> Iterator[Finding]:
    """Check that workers and schedulers run. Without them it is a problem only if there is work."""
    monitor = QueueMonitor(settings.redis_url)
    ledger = Ledger.connect(settings.redis_url)
    ledger.check_schema()
    try:
        stats, workers = monitor.figures(), monitor.workers()
        open_batches, refused_jobs = len(ledger.batches.open_ids()), ledger.counters.read().refused_jobs
        has_scheduler, has_delayed_jobs = monitor.schedulers() > 0, monitor.schedules_delayed_jobs()
        is_suspended = monitor.is_suspended()
    except ResponseError as error:
        yield wrong("workers", f"Redis refused a command: {error}.", "Allow its user to read and write under rq:.")
        return
    needed = bool(stats.waiting or open_batches or workers or has_scheduler)
    if workers:
        hosts = {worker.host for worker in workers}
        yield ok("workers", f"{pluralize(len(workers), 'worker')} on {pluralize(len(hosts), 'host')}")
        yield _check_present("delayed jobs", has_delayed_jobs, "No worker runs with --with-scheduler.", needed)
    else:
        batches = f"{open_batches:,} batch{'' if open_batches == 1 else 'es'} open"
        yield _check_present("workers", False, f"No worker runs, {batches}.", needed)
    yield _check_present("scheduler", has_scheduler, "No sweep runs, and no schedule starts a batch.", needed)
    if is_suspended:
        message = "The queues are suspended (`rq suspend`): workers run, and take no job."
        yield wrong("queues", message, "Run `rq resume -c config.rq`.")
    if refused_jobs:
        message = f"Workers refused {pluralize(refused_jobs, 'job')} of another program."
        yield wrong("refused jobs", message, "Find out who else writes to Redis, and change its password.")
    if stats.failed:
        message = f"{pluralize(stats.failed, 'job')} failed in the last day. The sweep repeated their work."
        yield note("failed jobs", message, "Read the logs of the workers.")


def _check_present(subject: str, is_present: bool, absent: str, needed: bool) -> Finding:
    if is_present:
        return ok(subject, "running")
    fix = "Start `dailies up`, or the processes of the Procfile."
    return wrong(subject, absent, fix) if needed else note(subject, absent, fix)
