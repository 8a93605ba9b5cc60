"""Clients while Redis is away: retries, their time limit, and the error."""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.client import Pipeline
from redis.exceptions import ConnectionError
from rq.scheduler import RQScheduler
from structlog.testing import capture_logs
from support.processes import OwnRedis

from pipeline.errors import InvalidSettings, Unreachable
from pipeline.ledger.redis_client import NO_RETRY, RQRedis, TimeLimitedRetry, connect


def get(client: Any) -> object:
    return client.get("key")


def get_in_a_pipeline(client: Any) -> object:
    (value,) = client.pipeline().get("key").execute()
    return value


@pytest.mark.parametrize("read", [get, get_in_a_pipeline])
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_commands_and_pipelines_wait_for_redis(redis: OwnRedis, read: Callable[[Any], object], how: str) -> None:
    clients = [connect(redis.url, decode=False, retry_timeout_s=30), RQRedis.from_url(redis.url)]
    clients[0].set("key", "value")
    assert [read(client) for client in clients] == [b"value", b"value"]
    values: list[object] = []
    threads = [threading.Thread(target=lambda client=client: values.append(read(client))) for client in clients]
    stop, resume = (
        (redis.kill, redis.start)
        if how == "killed"
        else (lambda: redis.signal(signal.SIGSTOP), lambda: redis.signal(signal.SIGCONT))
    )
    stop()
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert values == []
    resume()
    for thread in threads:
        thread.join(30)
    assert values == [b"value", b"value"]


@pytest.mark.parametrize("read", [get, get_in_a_pipeline])
def test_without_retries_an_outage_is_an_error_at_once(redis: OwnRedis, read: Callable[[Any], object]) -> None:
    client = connect(redis.url, socket_timeout_s=0.2)
    assert read(client) is None
    redis.signal(signal.SIGSTOP)
    with pytest.raises(Unreachable, match="does not respond \\(TimeoutError\\)"):
        read(client)
    redis.kill()
    with pytest.raises(Unreachable, match="does not respond \\(ConnectionError\\)"):
        read(client)


@pytest.mark.parametrize("read", [get, get_in_a_pipeline])
def test_retries_end_after_their_time_and_are_logged_once(redis: OwnRedis, read: Callable[[Any], object]) -> None:
    client = connect(redis.url, retry_timeout_s=2)
    read(client)
    redis.kill()
    started = time.monotonic()
    with capture_logs() as events, pytest.raises(Unreachable):
        read(client)
    assert 2 <= time.monotonic() - started < 8
    assert [event["event"] for event in events] == ["redis_retried"]


def test_the_heartbeat_of_rqs_scheduler_survives_a_restart_between_its_scripts_and_its_commands(
    redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = RQRedis.from_url(redis.url)
    scheduler: Any = RQScheduler(["dailies"], client)
    assert scheduler.acquire_locks() == {"dailies"}
    load_scripts = Pipeline.load_scripts
    restarts = iter([True])

    def load_and_restart(pipeline: Pipeline) -> None:
        load_scripts(pipeline)  # type: ignore[no-untyped-call]
        if next(restarts, False):
            redis.kill()
            redis.start()

    monkeypatch.setattr(Pipeline, "load_scripts", load_and_restart)
    scheduler.heartbeat()
    assert next(restarts, None) is None
    assert scheduler.acquired_locks == {"dailies"}
    assert client.hget(scheduler.key, "last_heartbeat")


def test_a_stopping_rq_process_does_not_wait(redis: OwnRedis) -> None:
    client = RQRedis.from_url(redis.url)
    client.ping()
    redis.kill()
    client.set_retry(NO_RETRY)
    started = time.monotonic()
    with pytest.raises(ConnectionError):
        client.ping()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:1/0", "unix:///nowhere/redis.sock?password=secret"])
def test_the_error_names_the_server_without_its_password(url: str) -> None:
    with pytest.raises(Unreachable) as caught:
        connect(url).ping()
    assert "127.0.0.1:1 " in str(caught.value) or "/nowhere/redis.sock " in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConnectionError):
        client = RQRedis.from_url(url)
        client.set_retry(NO_RETRY)
        client.ping()


@pytest.mark.parametrize("client", [connect, RQRedis.from_url])
def test_a_url_that_cannot_be_read_is_refused_without_its_password(client: Callable[[str], Any]) -> None:
    with pytest.raises(InvalidSettings, match="REDIS_URL") as caught:
        client("redis://:planted/secret@127.0.0.1:1/0")
    assert "planted" not in str(caught.value)


def test_a_retry_within_a_retry_shares_its_deadline() -> None:
    retry = copy.deepcopy(TimeLimitedRetry(0.5, "server"))
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    def nested() -> None:
        retry.call_with_retry(fail, lambda error: None)

    started = time.monotonic()
    with pytest.raises(ConnectionError):
        retry.call_with_retry(nested, lambda error: None)
    assert time.monotonic() - started < 2
    assert calls > 2
