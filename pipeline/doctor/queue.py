"""Redis, and who works on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from redis.exceptions import ResponseError

from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.doctor import Finding, note, ok, wrong
from pipeline.domain.formatting import pluralize
from pipeline.errors import Unreachable
from pipeline.ledger import redis_client
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings

_OLDEST = (7, 2)
_MAX_SKEW_S = 5
_DISK_MS = 2000


def redis(settings: Settings) -> Iterator[Finding]:
    """Whether Redis answers, keeps what it is told and forgets nothing."""
    try:
        client = redis_client.connect(settings.redis_url)
        clear_pending = time.monotonic()
        client.ping()
        took_ms = 1000 * (time.monotonic() - clear_pending)
        info = client.info()
    except Unreachable as error:
        yield wrong("Redis", str(error))
        return
    except ResponseError as error:
        yield wrong(
            "Redis", f"It refuses: {error}.", "Let REDIS_URL's user read INFO and write keys under dailies: and rq:."
        )
        return
    yield ok("Redis", f"{_server(info)}, {took_ms:.1f} ms away")
    yield _disk(client, info)
    yield _eviction(info)
    yield _clock(client)


def _server(info: dict[str, Any]) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of an unknown version')}"


def _disk(client: Any, info: dict[str, Any]) -> Finding:
    what = "Redis' disk"
    less = (
        "Should Redis die and lose its last second, a run posted in it may be posted again; "
        "the journal on S3 brings back the rest (`dailies recover`)."
    )
    if not info.get("aof_enabled"):
        return note(what, f"The append-only file is off. {less}", "Start the server with --appendonly yes.")
    try:
        written = client.execute_command("WAITAOF", 1, 0, _DISK_MS)
    except ResponseError:
        return note(
            what,
            f"The append-only file is on, but the server has no WAITAOF. {less}",
            "Use Valkey, or Redis 7.2 and newer.",
        )
    if written[0] < 1:
        return wrong(what, f"Nothing was written within {_DISK_MS} ms.", "Look at the server's disk and its log.")
    return ok(what, "append-only file on, WAITAOF answers: attempts are on disk before money is spent")


def _eviction(info: dict[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ok("Redis' memory", "maxmemory-policy noeviction")
    return wrong(
        "Redis' memory",
        f"maxmemory-policy is {policy}: when memory is short, batches are thrown away.",
        "Start the server with --maxmemory-policy noeviction.",
    )


def _clock(client: Any) -> Finding:
    second, microsecond = client.time()
    skew_s = time.time() - (second + microsecond / 1e6)
    if abs(skew_s) <= _MAX_SKEW_S:
        return ok("clock", "agrees with Redis'")
    return note(
        "clock",
        f"This machine is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} Redis. Leases go by Redis' "
        "clock; S3 refuses requests that are 15 minutes off.",
        "Set the clocks by NTP.",
    )


def queue_monitor(settings: Settings) -> Iterator[Finding]:
    """Whether workers and schedulers are there, as RQ knows them."""
    people = QueueMonitor(settings.redis_url)
    try:
        figures, workers = people.figures(), people.workers()
        open_batches = len(Ledger.connect(settings.redis_url).batches.open_ids())
        has_scheduler, schedules_delayed_jobs = people.schedulers() > 0, people.schedules_delayed_jobs()
    except ResponseError as error:
        yield wrong("workers", f"Redis refuses: {error}.", "Let its user read and write under rq:.")
        return
    busy = bool(figures.waiting or open_batches or workers or has_scheduler)
    if workers:
        hosts = {worker.host for worker in workers}
        yield ok("workers", f"{pluralize(len(workers), 'worker')} on {pluralize(len(hosts), 'host')}")
        yield _present("delayed jobs", schedules_delayed_jobs, "no worker looks after them", busy)
    else:
        yield _present("workers", False, f"there are none, {pluralize(open_batches, 'batch')} open", busy)
    yield _present("scheduler", has_scheduler, "nobody sweeps, or starts batches by the clock", busy)
    if figures.failed:
        yield note(
            "failed jobs", f"{figures.failed:,} in the last day; their work was done again.", "See the workers' logs."
        )


def _present(subject: str, is_there: bool, absent: str, busy: bool) -> Finding:
    if is_there:
        return ok(subject, "alive")
    fix = "Start `dailies up`, or the processes of the Procfile."
    return wrong(subject, absent, fix) if busy else note(subject, absent, fix)
