"""Redis connections whose failures speak to people."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import AuthenticationError, BusyLoadingError, ConnectionError, TimeoutError

from pipeline.errors import Unreachable

_TROUBLE = (ConnectionError, TimeoutError, BusyLoadingError, AuthenticationError)


def connect(redis_url: str, *, decode: bool = True) -> Any:
    """A client with time limits on everything; its connection failures come out as Unreachable.

    `decode` False gives bytes, as RQ wants them.
    """
    try:
        return _Client.from_url(
            redis_url,
            decode_responses=decode,
            socket_connect_timeout=5,
            socket_timeout=30,
            health_check_interval=30,
            max_connections=128,
        )
    except ValueError as error:
        raise Unreachable(f"REDIS_URL is not a Redis URL: {error}") from None


def _unreachable(client: Any, error: Exception) -> Unreachable:
    where = client.connection_pool.connection_kwargs
    place = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
    return Unreachable(
        f"Redis at {place} does not answer ({type(error).__name__}). Start the service with `dailies up`, "
        "or set REDIS_URL."
    )


class _Client(Redis):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)
        except _TROUBLE as error:
            raise _unreachable(self, error) from error

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> Any:
        try:
            return super().execute(raise_on_error)
        except _TROUBLE as error:
            raise _unreachable(self, error) from error
