"""Redis: connection, role, writes, permissions, durability, memory, connections and clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from redis.exceptions import ResponseError

from pipeline.doctor.findings import Finding, note, ok, one_line, wrong
from pipeline.doctor.redis_permissions import check_permissions
from pipeline.errors import IncompatibleSchema, ServiceRefuses, Unreachable
from pipeline.ledger import redis_client
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.set_aside import SetAsideStore
from pipeline.settings import Settings

_MAX_SKEW_S = 5
_MAX_WRITE_MS = 2000
_NEARLY_FULL = 0.8
"""Share of the memory or of the connections from which on it is reported."""
_MAX_SHOWN = 5
"""Records that were set aside and are named."""
_LOSS = (
    "If Redis crashes and loses its last second, a run posted in that second may be posted again. "
    "The journal on S3 restores the rest (`dailies recover`)."
)


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Check that Redis serves all that the service needs, writes to its disk and evicts no keys.

    Raises InvalidSettings if REDIS_URL cannot be used.
    """
    client = redis_client.connect(settings.redis_url)
    try:
        started = time.monotonic()
        client.ping()
        latency_ms = 1000 * (time.monotonic() - started)
        info = client.info()
    except Unreachable as error:
        yield wrong("Redis", str(error))
        return
    yield ok("Redis", f"{_server(info)}, latency {latency_ms:.1f} ms")
    if wrong_server := _check_role(info):
        yield wrong_server
        return
    ledger = Ledger.on(client)
    yield from _check_writes(ledger)
    yield from check_permissions(client)
    yield _check_durability(client, info)
    yield _check_eviction(info)
    yield from _check_memory(info)
    yield from _check_connections(info)
    yield _check_clock(client)
    yield from _check_records(ledger.set_aside)


def _server(info: dict[str, Any]) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of unknown version')}"


def _check_role(info: dict[str, Any]) -> Finding | None:
    """Return what is wrong if this server is not the one to use."""
    if info.get("cluster_enabled"):
        message = "The server is a node of a cluster. The service needs all its keys on one server."
        return wrong("Redis role", message, "Use a server without cluster mode: docs/deploy.md.")
    if info.get("role") != "master":
        primary = f"{info.get('master_host', 'another server')}:{info.get('master_port', '?')}"
        message = f"The server is a replica of {primary}: it refuses writes, or loses them."
        return wrong("Redis role", message, "Set REDIS_URL to the primary, or to a name that follows a failover.")
    return None


def _check_writes(ledger: Ledger) -> Iterator[Finding]:
    try:
        ledger.check_ready()
    except IncompatibleSchema as error:
        yield wrong("Redis data", one_line(error))
    except ServiceRefuses as error:
        yield wrong("Redis writes", one_line(error))


def _check_durability(client: Any, info: dict[str, Any]) -> Finding:
    subject = "Redis disk"
    if not info.get("aof_enabled"):
        return note(subject, f"The append-only file is off. {_LOSS}", "Start the server with --appendonly yes.")
    try:
        fsynced = client.execute_command("WAITAOF", 1, 0, _MAX_WRITE_MS)
    except ServiceRefuses as error:
        return wrong(subject, one_line(error))
    except ResponseError:
        message = f"The append-only file is on, but the server has no WAITAOF. {_LOSS}"
        return note(subject, message, "Use Valkey, or Redis 7.2 or newer.")
    if fsynced[0] < 1:
        message = f"The server wrote nothing to its disk within {_MAX_WRITE_MS} ms."
        return wrong(subject, message, "Check the disk and the log of the server.")
    return ok(subject, "append-only file on, WAITAOF works: attempts are on disk before money is spent")


def _check_eviction(info: dict[str, Any]) -> Finding:
    subject = "Redis memory"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ok(subject, "maxmemory-policy noeviction")
    message = f"maxmemory-policy is {policy}: if memory is short, the server deletes batches."
    return wrong(subject, message, "Start the server with --maxmemory-policy noeviction.")


def _check_memory(info: dict[str, Any]) -> Iterator[Finding]:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if limit and used > _NEARLY_FULL * limit:
        message = f"{used / 1e6:,.0f} MB of {limit / 1e6:,.0f} MB are used. A full server refuses all writes."
        yield note("Redis memory", message, "Raise maxmemory.")


def _check_connections(info: dict[str, Any]) -> Iterator[Finding]:
    limit, used = int(info.get("maxclients", 0)), int(info.get("connected_clients", 0))
    if limit and used > _NEARLY_FULL * limit:
        message = f"{used:,} of {limit:,} connections are used. A further one is refused."
        yield note("Redis connections", message, "Raise maxclients, or stop other clients.")


def _check_records(records: SetAsideStore) -> Iterator[Finding]:
    if number := records.number():
        newest = "; ".join(f"{one.member!r} in {one.queue!r}: {one.reason}" for one in records.newest(_MAX_SHOWN))
        message = f"Records in queues that cannot be read were set aside: {number:,}. The newest: {newest}"
        fix = (
            "Cancel their batches, or rebuild them: `dailies recover`. Upload the objects of messages again. "
            "Then delete the key dailies:set_aside."
        )
        yield wrong("Redis records", message, fix)


def _check_clock(client: Any) -> Finding:
    second, microsecond = client.time()
    skew_s = time.time() - (second + microsecond / 1e6)
    if abs(skew_s) <= _MAX_SKEW_S:
        return ok("clock", "agrees with the clock of Redis")
    direction = "ahead of" if skew_s > 0 else "behind"
    message = (
        f"The clock of this machine is {abs(skew_s):.0f} s {direction} the clock of Redis. Leases use the clock of "
        "Redis. S3 refuses requests whose time is 15 minutes off."
    )
    return note("clock", message, "Set both clocks by NTP.")
