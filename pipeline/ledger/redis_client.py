"""Redis clients: time limits, retries while the server is away, and errors that name the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from redis import Redis
from redis.backoff import EqualJitterBackoff
from redis.client import Pipeline
from redis.connection import SSLConnection
from redis.exceptions import ConnectionError, NoScriptError, ResponseError, TimeoutError
from redis.retry import Retry

from pipeline.domain.connection_faults import CLOSED_PORT, Peer, fault_of, is_hung_up, plain_hint, reason_of
from pipeline.errors import DailiesError, DamagedRecord, ServiceRefuses, Unreachable
from pipeline.ledger.redis_refusals import NO_SCRIPTS, ServerRefused, translate
from pipeline.ledger.redis_url import check_url

SOCKET_TIMEOUT_S = 10.0
CommandRefused = ResponseError
"""Redis refused a command, for example because a key has another type."""
_CONNECT_TIMEOUT_S = 5.0
_RETRYING_SOCKET_TIMEOUT_S = 30.0
_RQ_RETRY_TIMEOUT_S = 60.0
_PEER = Peer(
    "REDIS_URL",
    "Add ?ssl_ca_certs=FILE with the certificate of its authority to REDIS_URL, or ?ssl_cert_reqs=none to trust any.",
    plain="redis://",
    tls="rediss://",
    client_certificate="Add ssl_certfile=FILE and ssl_keyfile=FILE to the options of REDIS_URL.",
)
_MIN_BACKOFF_S = 0.05
_MAX_BACKOFF_S = 2.0
_LOG_AFTER_S = 1.0

log = structlog.get_logger()


class WrongData(DamagedRecord, ResponseError):
    """Redis refused a command because of what it stores, for example because a key has another type."""

    exit_code = 3


class TimeLimitedRetry(Retry):
    """Retries with exponential backoff for at most `timeout_s` seconds after a call began; with 0 it fails at once.

    redis-py retries the connect, the health check and the command, one inside the other: a limit on the count would
    multiply. Here they share the deadline of the outermost call. Each connection has a copy of its own.

    redis-py makes every request through its `Retry`. If the server refuses to serve, this one raises ServerRefused, a
    ConnectionError: the connection is closed as a lost one is, and the next one resolves the address again.
    """

    def __init__(self, timeout_s: float, server: str) -> None:
        super().__init__(EqualJitterBackoff(cap=_MAX_BACKOFF_S, base=_MIN_BACKOFF_S), retries=-1 if timeout_s else 0)
        self._timeout_s = timeout_s
        self._server = server
        self._started: float | None = None
        self._logged = False

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """Call `do` until it succeeds. Raise its error if the time is over."""
        if not self._timeout_s:
            return super().call_with_retry(lambda: translate(do), fail, is_retryable, with_failure_count)
        is_outermost = self._started is None
        started = time.monotonic() if self._started is None else self._started

        def is_in_time(error: Exception) -> bool:
            return self._is_in_time(started, error) and (is_retryable is None or is_retryable(error))

        if is_outermost:
            self._started = started
            self._logged = False
        try:
            return super().call_with_retry(lambda: translate(do), fail, is_in_time, with_failure_count)
        finally:
            if is_outermost:
                self._started = None

    def _is_in_time(self, started: float, error: Exception) -> bool:
        elapsed_s = time.monotonic() - started
        if elapsed_s > _LOG_AFTER_S and not self._logged:
            self._logged = True
            log.warning("redis_retried", server=self._server, error=_in_words(error))
        return elapsed_s < self._timeout_s


NO_RETRY = TimeLimitedRetry(0, "")


def connect(
    redis_url: str, *, decode: bool = True, retry_timeout_s: float = 0, socket_timeout_s: float = SOCKET_TIMEOUT_S
) -> Any:
    """Return a client that raises Unreachable if Redis does not respond, and ServiceRefuses if it refuses to serve.

    decode: False returns bytes, as RQ needs them. retry_timeout_s: how many seconds a command is retried while the
    server is away; 0 fails at once. A retried command may reach the server twice: the ledger's scripts allow that.
    socket_timeout_s: how long a client without retries waits for a response.
    Raises InvalidSettings if `redis_url` cannot be used.
    """
    check_url(redis_url)
    client: Any = _Client.from_url(
        redis_url,
        decode_responses=decode,
        # Bytes that are not UTF-8 can be read. To write them back, encode them: hiredis packs valid text only.
        encoding_errors="surrogateescape",
        retry=NO_RETRY,
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        socket_timeout=_RETRYING_SOCKET_TIMEOUT_S if retry_timeout_s else socket_timeout_s,
        health_check_interval=30,
        max_connections=128,
    )
    if retry_timeout_s:
        client.set_retry(TimeLimitedRetry(retry_timeout_s, _server(client)))
    return client


class RQRedis(Redis):
    """The `--connection-class` of RQ's commands. They wait up to 60 s for Redis, so an outage ends no process."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Any:
        """Return a client. RQ gives no options; a worker later raises the socket timeout to what BLPOP needs.

        Raises InvalidSettings if `url` cannot be used.
        """
        check_url(url)
        limits = {"socket_connect_timeout": _CONNECT_TIMEOUT_S, "socket_timeout": _RETRYING_SOCKET_TIMEOUT_S}
        client: Any = super().from_url(url, **(limits | options))
        client.set_retry(TimeLimitedRetry(_RQ_RETRY_TIMEOUT_S, _server(client)))
        return client

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        return _RQPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _RQPipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> Any:
        """Execute the commands. Repeat them if Redis was started anew after their scripts had been loaded.

        Of RQ's pipelines that this service uses, only the heartbeat of the scheduler calls scripts. It may be repeated.
        Otherwise the scheduler would end, and its worker would start another one up to 60 s later.
        """
        commands, scripts = list(self.command_stack), set(self.scripts)
        try:
            return super().execute(raise_on_error)
        except NoScriptError:
            self.command_stack, self.scripts = commands, scripts
            return super().execute(raise_on_error)


class _Client(Redis):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except (ConnectionError, TimeoutError, ResponseError) as error:
            if isinstance(error, NoScriptError) and args[0] == "EVALSHA":
                raise  # redis-py loads the script and tries again
            raise in_words(self, error) from error

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> Any:
        try:
            return super().execute(raise_on_error)
        except (ConnectionError, TimeoutError, ResponseError) as error:
            raise in_words(self, error) from error


def in_words(client: Redis, error: Exception) -> DailiesError:
    """Return the error for people. `error`: what redis-py raised or returned."""
    if isinstance(error, NoScriptError):
        return unreachable(client, ServerRefused(NO_SCRIPTS))
    if isinstance(error, ServerRefused) or not isinstance(error, ResponseError):
        return unreachable(client, error)
    return WrongData(f"Redis at {_server(client)} has data that the service cannot use: {error}. Run `dailies doctor`.")


def unreachable(client: Redis, error: Exception) -> Unreachable:
    """Return the error for people. After a failover the server is another one: idle connections are closed."""
    if isinstance(error, ServerRefused):
        client.connection_pool.disconnect(inuse_connections=False)
        return ServiceRefuses(error.refusal.message(_server(client)))
    return Unreachable(f"Redis at {_server(client)} does not respond{_no_answer(client, error)}")


def _no_answer(client: Redis, error: Exception) -> str:
    """Return why Redis does not respond, and what to do: the end of a message."""
    options = client.connection_pool.connection_kwargs
    fault = None if "path" in options else fault_of(error)
    if fault and fault is not CLOSED_PORT:
        return f": {fault.what}. {fault.fix(_PEER)}"
    reason = f": {fault.what}" if fault else f" ({type(error).__name__})"
    has_tls = issubclass(client.connection_pool.connection_class, SSLConnection)
    hint = f" {plain_hint(_PEER)}" if is_hung_up(error) and not has_tls and "path" not in options else ""
    return f"{reason}. Start the service with `dailies up`, or set REDIS_URL.{hint}"


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, ServerRefused) else reason_of(error)


def _server(client: Redis) -> str:
    """Return `host:port` or the socket's path, without the password."""
    options = client.connection_pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")
