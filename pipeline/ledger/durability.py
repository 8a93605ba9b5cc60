"""Writes that are on the disk of the Redis server before the caller continues."""

from __future__ import annotations

from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from pipeline.errors import Unreachable
from pipeline.ledger import redis_client
from pipeline.ledger.redis_refusals import ServerRefused, refusal_of

_DISK_TIMEOUT_S = 5.0


def run_durably(redis: Any, script: Any, key: str, *args: object) -> Any:
    """Run a registered script and wait until its writes are on the server's disk (WAITAOF, Valkey and Redis 7.2).

    Both commands use one connection: the server waits for the writes of that connection. Servers without the command
    or without an append-only file guarantee less; `doctor` reports it. Raises Unreachable.
    """
    result, fsynced = _run(redis, script, key, *args)
    if isinstance(result, NoScriptError):
        redis.script_load(script.script)
        result, fsynced = _run(redis, script, key, *args)
    if isinstance(result, ResponseError):
        raise redis_client.in_words(redis, result)
    if isinstance(fsynced, ResponseError) and (refusal := refusal_of(fsynced)):
        raise redis_client.unreachable(redis, ServerRefused(refusal))
    if not isinstance(fsynced, ResponseError) and fsynced[0] < 1:
        raise Unreachable(
            f"Redis did not write to its disk within {_DISK_TIMEOUT_S:.0f} s. Check the disk of the Redis server."
        )
    return result


def _run(redis: Any, script: Any, key: str, *args: object) -> tuple[Any, Any]:
    """Return the replies to the script and to WAITAOF, errors as well."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.evalsha(script.sha, 1, key, *args)
        pipe.execute_command("WAITAOF", 1, 0, round(_DISK_TIMEOUT_S * 1000))
        result, fsynced = pipe.execute(raise_on_error=False)
    return result, fsynced
