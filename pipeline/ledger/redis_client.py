"""Redis connections whose failures speak to people."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any, ClassVar

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    TimeoutError,
)

from pipeline.errors import Unreachable

_CONNECTION_ERRORS = (ConnectionError, TimeoutError, BusyLoadingError, AuthenticationError)
_MAX_WAIT_S = 2.0
SOCKET_TIMEOUT_S = 10.0

log = structlog.get_logger()


def connect(
    redis_url: str, *, decode: bool = True, retry_timeout_s: float = 0, socket_timeout_s: float = SOCKET_TIMEOUT_S
) -> Any:
    """A client with time limits on everything; its connection failures come out as Unreachable.

    `decode` False gives bytes, as RQ wants them. `patience_s`: how long a command is tried again while the server is
    away. Whatever is sent must then bear to be sent twice: the ledger's scripts refuse a second time by themselves.
    `answer_s`: how long one that stands still is waited for by those without patience.
    """
    try:
        client: Any = _Client.from_url(
            redis_url,
            decode_responses=decode,
            socket_connect_timeout=5,
            socket_timeout=30 if retry_timeout_s else socket_timeout_s,
            health_check_interval=30,
            max_connections=128,
        )
    except ValueError as error:
        raise Unreachable(f"REDIS_URL is not a Redis URL: {error}") from None
    client.retry_timeout_s = retry_timeout_s
    return client


class _Client(Redis):
    retry_timeout_s: float = 0
    translate_errors = True

    def is_orphaned(self) -> bool:
        """Whether it is not to wait, patient or not."""
        return False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        send: Callable[..., Any] = super().execute_command
        return _with_retries(self, lambda: send(*args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        pipe = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipe.owner = self
        return pipe


class RQRedis(_Client):
    """For RQ's own commands (see the Procfile): where the server is away they wait for it, and no process dies.

    One whose parent is gone is to end, and waits no more.
    """

    retry_timeout_s = 60
    translate_errors = False
    _parents: ClassVar[dict[int, int]] = {}

    def is_orphaned(self) -> bool:
        """Whether the process that started this one is gone."""
        return self._parents.setdefault(os.getpid(), os.getppid()) != os.getppid()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> RQRedis:
        """As RQ makes its client. Workers, who wait for jobs, raise the time limit to what they need."""
        limits = {"socket_connect_timeout": 5, "socket_timeout": 30, "socket_keepalive": True}
        client: Any = super().from_url(url, **(limits | options))
        # Who the parent is, is noted while it lives.
        client.is_orphaned()
        return client  # type: ignore[no-any-return]


class _Pipeline(Pipeline):
    owner: _Client

    def execute(self, raise_on_error: bool = True) -> Any:
        commands = list(self.command_stack)

        def send() -> Any:
            # Executing empties the stack, whether it succeeds or not.
            self.command_stack = list(commands)
            return super(_Pipeline, self).execute(raise_on_error)

        return _with_retries(self.owner, send)


def _with_retries(client: _Client, call: Callable[[], Any]) -> Any:
    ends = time.monotonic() + client.retry_timeout_s
    wait = 0.05
    while True:
        try:
            return call()
        except _CONNECTION_ERRORS as error:
            if _MAX_WAIT_S / 2 < wait < _MAX_WAIT_S:
                # Once, after a second or two.
                log.warning("waiting_for_redis", place=_place(client), error=type(error).__name__)
            if time.monotonic() + wait > ends or client.is_orphaned():
                if not client.translate_errors:
                    raise
                raise _unreachable(client, error) from error
        time.sleep(wait * (0.5 + random.random() / 2))
        wait = min(wait * 2, _MAX_WAIT_S)


def _unreachable(client: Any, error: Exception) -> Unreachable:
    return Unreachable(
        f"Redis at {_place(client)} does not answer ({type(error).__name__}). Start the service with `dailies up`, "
        "or set REDIS_URL."
    )


def _place(client: Any) -> str:
    where = client.connection_pool.connection_kwargs
    return str(where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}")
