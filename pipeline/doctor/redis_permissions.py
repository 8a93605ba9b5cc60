"""What the user of REDIS_URL may do: every command of the service and of RQ, tried on a key of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis.exceptions import ResponseError

from pipeline.doctor.findings import Finding, wrong
from pipeline.ledger import keys

_KEYS = (keys.WRITABLE, "rq:dailies-doctor")
_MAX_LISTED = 10
_COMMANDS = """
    SET K 1 EX 60|GET K|GETDEL K|EXISTS K|TYPE K|INCR K|EXPIRE K 60|PEXPIRE K 60000|PERSIST K|TTL K|PTTL K|MGET K|DEL K
    HSET K f 1|HSETNX K f 1|HGET K f|HMGET K f|HGETALL K|HVALS K|HEXISTS K f|HLEN K|HINCRBY K f 1|HINCRBYFLOAT K f 1
    HSCAN K 0|HDEL K f|DEL K
    LPUSH K m|RPUSH K m|RPUSHX K m|LRANGE K 0 1|LINDEX K 0|LLEN K|LPOS K m|LSET K 0 m|LTRIM K 0 1|LMOVE K K LEFT LEFT
    BLMOVE K K LEFT LEFT 1|BLPOP K 1|LREM K 1 m|LPOP K|DEL K
    SADD K m|SMEMBERS K|SISMEMBER K m|SMISMEMBER K m|SCARD K|SRANDMEMBER K|SREM K m|DEL K
    ZADD K 1 m|ZRANGE K 0 1|ZRANGEBYSCORE K 0 1|ZREVRANK K m|ZCARD K|ZCOUNT K 0 1|ZSCORE K m|ZMSCORE K m|ZSCAN K 0
    ZREM K m|ZREMRANGEBYRANK K 0 1|ZREMRANGEBYSCORE K 0 1|DEL K
    XADD K * f 1|XLEN K|XREVRANGE K + - COUNT 1|DEL K
    TIME|PUBLISH rq:pubsub:dailies-doctor x
"""
"""Commands of the scripts and stores (`ledger/`, `schedules/`, `triggers/`) and of RQ 3.0. K: the key."""


def check_permissions(client: Any) -> Iterator[Finding]:
    """Report the commands and keys that the user of REDIS_URL may not use. The keys are deleted."""
    lines = [line for lines in _COMMANDS.split("\n") for line in lines.strip().split("|") if line]
    for key in _KEYS:
        pipe = client.pipeline(transaction=False).ping()
        for line in lines:
            pipe.execute_command(*(key if word == "K" else word for word in line.split()))
        replies = pipe.execute(raise_on_error=False)[1:]
        pattern = f"{key.partition(':')[0]}:*"
        if denied := [line.split()[0] for line, reply in zip(lines, replies, strict=True) if _is_denied(reply)]:
            commands = _listed(list(dict.fromkeys(denied)))
            message = f"The user of REDIS_URL may not use these commands on keys {pattern}: {commands}."
            yield wrong("Redis permissions", message, f"Allow them, for example: ACL SETUSER NAME ~{pattern} &* +@all.")


def _listed(commands: list[str]) -> str:
    more = len(commands) - _MAX_LISTED
    return ", ".join(commands[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _is_denied(reply: object) -> bool:
    return isinstance(reply, ResponseError) and reply.status_code == "NOPERM"
