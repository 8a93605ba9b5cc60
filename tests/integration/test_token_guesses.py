"""Wrong tokens are counted by address and by token, and delayed. Right tokens are neither."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.access import BEARER, TOKEN
from support.waiting import WaitFor
from werkzeug.exceptions import TooManyRequests, Unauthorized
from werkzeug.test import TestResponse

from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.login_attempts import MAX_FAILURES, WINDOW_S
from pipeline.settings import Settings
from pipeline.web import create_app
from pipeline.web.security import failure_limit
from pipeline.web.security.failure_limit import FailureLimit

CLOSED = "/api/v1/no-such-thing"
EVENTS_TOKEN = "an-events-token-of-the-tests"


@pytest.fixture(autouse=True)
def short_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_limit, "DELAY_S", 0.01)


def a_client(redis_url: str, **values: Any) -> FlaskClient:
    given = {"secret": "a-secret", "api_token": TOKEN, "events_token": EVENTS_TOKEN, "redis_url": redis_url, **values}
    return create_app(Settings.model_validate(given)).test_client()


def login(client: FlaskClient, token: str, address: str = "192.0.2.1") -> TestResponse:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/login").text)
    assert found
    data = {"csrf": found[1], "token": token}
    return client.post("/login", data=data, environ_overrides={"REMOTE_ADDR": address})


def bearer(client: FlaskClient, token: str, address: str = "192.0.2.1", **headers: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}", **headers}
    return client.get(CLOSED, headers=headers, environ_overrides={"REMOTE_ADDR": address})


def test_after_many_wrong_logins_wrong_tokens_have_to_wait_and_right_ones_do_not(redis_url: str) -> None:
    client = a_client(redis_url)
    assert [login(client, f"wrong-{n}").status_code for n in range(MAX_FAILURES)] == [401] * MAX_FAILURES
    limited = login(client, "wrong")
    assert limited.status_code == 429
    assert 0 < int(limited.headers["Retry-After"]) <= WINDOW_S
    assert "Too many wrong tokens" in limited.text
    assert login(client, TOKEN).status_code == 303
    assert bearer(client, TOKEN).status_code == 404
    assert login(client, "wrong-99", "192.0.2.2").status_code == 401


def test_guesses_of_bearer_tokens_are_limited_and_the_right_token_is_accepted(redis_url: str) -> None:
    client = a_client(redis_url)
    assert [bearer(client, f"wrong-{n}").status_code for n in range(MAX_FAILURES)] == [401] * MAX_FAILURES
    limited = bearer(client, "wrong")
    assert limited.status_code == 429
    assert limited.content_type == "application/problem+json"
    assert 0 < int(limited.headers["Retry-After"]) <= WINDOW_S
    assert bearer(client, TOKEN).status_code == 404
    # The login page counts with the API.
    assert login(client, "wrong").status_code == 429


def test_one_wrong_token_from_many_addresses_is_limited_too(redis_url: str) -> None:
    client = a_client(redis_url)
    answers = [bearer(client, "wrong", f"192.0.2.{n}").status_code for n in range(MAX_FAILURES + 1)]
    assert answers == [401] * MAX_FAILURES + [429]


def test_guesses_of_the_events_token_are_limited_and_the_right_token_is_accepted(redis_url: str) -> None:
    client = a_client(redis_url)

    def post(**headers: str) -> int:
        return client.post("/events/s3", data="{}", headers=headers).status_code

    assert [post(**{"x-api-key": f"wrong-{n}"}) for n in range(MAX_FAILURES)] == [401] * MAX_FAILURES
    assert post(**{"x-api-key": "wrong"}) == 429
    # The header of SNS is no way around: the sender still needs the token or the signature.
    assert post(**{"x-api-key": "wrong", "x-amz-sns-message-type": "Notification"}) == 429
    assert post(**{"x-api-key": EVENTS_TOKEN}) == 400
    assert post(**BEARER) == 400


def test_a_request_without_any_token_is_not_counted(redis_url: str) -> None:
    client = a_client(redis_url)
    assert [client.get(CLOSED).status_code for _ in range(2 * MAX_FAILURES)] == [401] * 2 * MAX_FAILURES
    assert bearer(client, "wrong", "127.0.0.1").status_code == 401


def test_a_client_cannot_choose_the_address_that_is_counted(redis_url: str) -> None:
    client = a_client(redis_url)
    answers = [bearer(client, f"wrong-{n}", **{"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(MAX_FAILURES + 1)]
    assert [answer.status_code for answer in answers] == [401] * MAX_FAILURES + [429]


def test_behind_a_trusted_proxy_each_client_is_counted_by_its_own_address(redis_url: str) -> None:
    client = a_client(redis_url, trusted_proxies="10.0.0.0/8, 192.0.2.1")

    def guess(n: int, forwarded_for: str) -> int:
        return bearer(client, f"wrong-{n}", **{"X-Forwarded-For": forwarded_for}).status_code

    # What the client sends stands before what the proxy appends.
    spoofed = [guess(n, f"198.51.100.{n}, 203.0.113.7, 10.1.1.1") for n in range(MAX_FAILURES + 1)]
    assert spoofed == [401] * MAX_FAILURES + [429]
    assert guess(99, "203.0.113.8") == 401


def test_addresses_of_one_ipv6_network_share_the_limit(ledger: Ledger) -> None:
    failures = ledger.login_attempts
    waits = [failures.record_failure(f"2001:db8::{n:x}", f"wrong-{n}") for n in range(1, MAX_FAILURES + 2)]
    assert waits[-1] > 0
    assert not any(waits[:-1])
    assert failures.record_failure("2001:db8:0:1::1", "wrong") == 0
    assert failures.record_failure("no address at all", "other") == 0


def test_the_counters_expire_and_their_number_is_bounded(ledger: Ledger) -> None:
    for n in range(200):
        ledger.login_attempts.record_failure(f"198.51.{n}.1", f"wrong-{n}")
    keys = ledger.redis.keys("dailies:login_attempts:*")
    assert all(0 < ledger.redis.ttl(key) <= WINDOW_S for key in keys)
    assert all(len(key) == len("dailies:login_attempts:abcd") for key in keys)


class Attempts:
    """Login attempts in a Redis that does not respond until `respond` is set."""

    def __init__(self) -> None:
        self.respond = threading.Event()
        self.waiting = 0

    def record_failure(self, address: str, token: str) -> int:
        self.waiting += 1
        self.respond.wait(60)
        raise Unreachable


def test_few_threads_wait_with_wrong_tokens_and_further_ones_are_refused_at_once(wait_for: WaitFor) -> None:
    app, attempts = Flask(__name__), Attempts()
    limit = FailureLimit(attempts, max_waiting=2)  # type: ignore[arg-type]  # a fake
    outcomes: list[type[Exception]] = []

    def guess() -> None:
        with app.test_request_context():
            try:
                limit.refuse("wrong", "It is wrong.")
            except (Unauthorized, TooManyRequests) as error:
                outcomes.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: attempts.waiting == 2, "both threads to wait")
    for _ in range(5):
        guess()
    assert outcomes == [TooManyRequests] * 5
    attempts.respond.set()
    for thread in threads:
        thread.join()
    assert outcomes[5:] == [Unauthorized] * 2


def test_the_response_to_a_wrong_token_is_delayed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_limit, "DELAY_S", 0.3)
    client = a_client(redis_url)
    began = time.monotonic()
    assert bearer(client, "wrong").status_code == 401
    assert time.monotonic() - began >= 0.3
