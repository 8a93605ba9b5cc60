"""Writes that are on the disk of the Redis server before the caller goes on."""

from __future__ import annotations

from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from pipeline.errors import Unreachable

_DISK_S = 5.0


def run_durably(redis: Any, script: Any, key: str, *args: object) -> Any:
    """Run a registered script and wait until the server's disk has what it wrote (WAITAOF, Valkey and Redis 7.2).

    Both go over one connection: the server waits for what that connection wrote. Servers without the command,
    or without an append-only file, promise less; `doctor` says so. Raises Unreachable.
    """
    with redis.pipeline(transaction=False) as pipe:
        pipe.evalsha(script.sha, 1, key, *args)
        pipe.execute_command("WAITAOF", 1, 0, round(_DISK_S * 1000))
        answer, written = pipe.execute(raise_on_error=False)
    if isinstance(answer, NoScriptError):
        redis.script_load(script.script)
        return run_durably(redis, script, key, *args)
    if isinstance(answer, ResponseError):
        raise answer
    if not isinstance(written, ResponseError) and written[0] < 1:
        raise Unreachable(f"Redis did not write to its disk within {_DISK_S:.0f} s.")
    return answer
