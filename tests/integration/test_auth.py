"""Authentication, CSRF and security headers. Mostly without a Redis server: requests are refused earlier."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from pipeline.ledger.ledger import Ledger
from pipeline.ledger.login_attempts import MAX_ATTEMPTS, WINDOW_S
from pipeline.settings import Settings
from pipeline.web import create_app

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NO_REDIS = "redis://127.0.0.1:1/0"
CLOSED = "/api/v1/batches"


def a_client(
    *, token: str | None = TOKEN, secret: str = "a-secret-of-the-tests", redis_url: str = NO_REDIS
) -> FlaskClient:
    settings = Settings(
        redis_url=redis_url, secret=SecretStr(secret), api_token=SecretStr(token) if token is not None else None
    )
    return create_app(settings).test_client()


def csrf_of(page: TestResponse) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found
    return found[1]


def signed_in(client: FlaskClient) -> TestResponse:
    csrf = csrf_of(client.get("/login"))
    return client.post("/login", data={"csrf": csrf, "token": TOKEN, "next": "/batches/one"})


def csrf_in(client: FlaskClient) -> str:
    with client.session_transaction() as session:
        session["csrf"] = "the-token-of-this-session"
        return str(session["csrf"])


def test_a_request_without_a_token_is_refused() -> None:
    answer = a_client().get(CLOSED)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json is not None
    assert answer.json["status"] == 401


def test_unknown_paths_need_the_token_too() -> None:
    assert a_client().get("/api/v1/no-such-thing").status_code == 401
    assert a_client().get("/no-such-thing").status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", "Basic YTpi", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_a_wrong_token_is_refused(header: str) -> None:
    assert a_client().get(CLOSED, headers={"Authorization": header}).status_code == 401


def test_the_token_is_accepted() -> None:
    assert a_client().get("/no-such-thing", headers=BEARER).status_code == 404


def test_health_and_callbacks_are_open() -> None:
    client = a_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.post("/callbacks/wiro/forged").status_code == 404


def test_a_browser_is_sent_to_the_login_page_and_back() -> None:
    client = a_client()
    sent = client.get("/batches/one", headers={"Accept": "text/html"})
    assert sent.status_code == 303
    assert sent.location == "/login?next=/batches/one"
    entered = signed_in(client)
    assert entered.status_code == 303
    assert entered.location == "/batches/one"
    assert client.get("/no-such-thing").status_code == 404


def test_scripts_and_other_sites_cannot_read_the_session_cookie() -> None:
    cookie = signed_in(a_client()).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Expires=" in cookie
    assert TOKEN not in cookie


def test_a_session_cookie_set_over_tls_is_sent_over_tls_only() -> None:
    client = a_client()
    page = client.get("/login", base_url="https://dailies.example")
    assert "; Secure" in page.headers["Set-Cookie"]
    assert "; Secure" not in a_client().get("/login").headers["Set-Cookie"]


def test_a_wrong_token_does_not_sign_in() -> None:
    client = a_client()
    answer = client.post("/login", data={"csrf": csrf_of(client.get("/login")), "token": "wrong"})
    assert answer.status_code == 401
    assert "not a token" in answer.text
    assert client.get(CLOSED).status_code == 401


def test_login_needs_the_csrf_token_of_the_form() -> None:
    client = a_client()
    client.get("/login")
    assert client.post("/login", data={"token": TOKEN}).status_code == 403
    assert client.post("/login", data={"token": TOKEN, "csrf": "forged"}).status_code == 403


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "/\n"]
)
def test_login_redirects_to_no_other_site(target: str) -> None:
    client = a_client()
    csrf = csrf_of(client.get("/login"))
    assert client.post("/login", data={"csrf": csrf, "token": TOKEN, "next": target}).location == "/"


def test_a_session_changes_nothing_without_its_csrf_token() -> None:
    client = a_client()
    signed_in(client)
    assert client.post("/api/v1/no-such-thing").status_code == 403
    csrf = csrf_in(client)
    assert client.post("/api/v1/no-such-thing", headers={"X-CSRF-Token": csrf}).status_code == 404
    assert client.post("/no-such-thing", data={"csrf": csrf}).status_code == 404


def test_a_session_ends_when_its_token_is_withdrawn() -> None:
    client = a_client()
    signed_in(client)
    cookie = client.get_cookie("dailies")
    assert cookie
    after = a_client(token="another-token")
    after.set_cookie("dailies", cookie.value)
    assert after.get(CLOSED).status_code == 401


def test_a_session_signed_with_another_secret_is_refused() -> None:
    client = a_client()
    signed_in(client)
    cookie = client.get_cookie("dailies")
    assert cookie
    other = a_client(secret="another-secret")
    other.set_cookie("dailies", cookie.value)
    assert other.get(CLOSED).status_code == 401
    rotated = a_client(secret="another-secret,a-secret-of-the-tests")
    rotated.set_cookie("dailies", cookie.value)
    assert rotated.get("/no-such-thing").status_code == 404


def test_logout_ends_the_session() -> None:
    client = a_client()
    signed_in(client)
    assert client.post("/logout", data={"csrf": csrf_in(client)}).location == "/login"
    assert client.get(CLOSED).status_code == 401


def test_without_any_token_only_this_machine_is_allowed() -> None:
    client = a_client(token=None)
    assert client.get("/no-such-thing").status_code == 404
    for host in ("127.0.0.1:8080", "[::1]:8080", "localhost:8080"):
        assert client.get("/no-such-thing", base_url=f"http://{host}").status_code == 404
    far = client.get(CLOSED, environ_overrides={"REMOTE_ADDR": "10.0.0.7"})
    assert far.status_code == 403
    assert far.json is not None
    assert "PIPELINE_API_TOKEN" in far.json["detail"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.7"])
def test_without_any_token_dns_rebinding_is_refused(host: str) -> None:
    assert a_client(token=None).get(CLOSED, base_url=f"http://{host}").status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_without_any_token_requests_through_a_proxy_are_refused(header: str) -> None:
    assert a_client(token=None).get(CLOSED, headers={header: "127.0.0.1"}).status_code == 403


def test_without_any_token_other_sites_cannot_use_the_browser() -> None:
    client = a_client(token=None)
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/api/v1/no-such-thing", headers=headers).status_code == 403
    assert client.post("/api/v1/no-such-thing", headers={"Origin": "http://localhost"}).status_code == 404
    assert client.post("/api/v1/no-such-thing").status_code == 404


def test_every_response_has_the_security_headers() -> None:
    client = a_client()
    for answer in (
        client.get("/login"),
        client.get(CLOSED),
        client.get("/healthz"),
        client.get("/static/dashboard.css"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_errors_are_pages_for_browsers_and_documents_for_programs() -> None:
    client = a_client()
    page = client.get("/no-such-thing", headers={**BEARER, "Accept": "text/html"})
    assert page.content_type.startswith("text/html")
    document = client.get("/api/v1/no-such-thing", headers={**BEARER, "Accept": "text/html"})
    assert document.content_type == "application/problem+json"


def test_a_wrong_method_returns_the_allowed_ones() -> None:
    answer = a_client().post("/healthz", headers=BEARER)
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_login_attempts_are_limited_per_address(redis_url: str) -> None:
    def attempt(client: FlaskClient, token: str, address: str = "192.0.2.1") -> TestResponse:
        data = {"csrf": csrf_of(client.get("/login")), "token": token}
        return client.post("/login", data=data, environ_overrides={"REMOTE_ADDR": address})

    client = a_client(redis_url=redis_url)
    assert [attempt(client, "wrong").status_code for _ in range(MAX_ATTEMPTS)] == [401] * MAX_ATTEMPTS
    for token in ("wrong", TOKEN):
        limited = attempt(client, token)
        assert limited.status_code == 429
        assert 0 < int(limited.headers["Retry-After"]) <= WINDOW_S
        assert "Too many attempts" in limited.text
    assert attempt(client, TOKEN, "192.0.2.2").status_code == 303


def test_a_successful_login_resets_the_attempts(redis_url: str) -> None:
    client = a_client(redis_url=redis_url)
    for _ in range(2 * MAX_ATTEMPTS):
        client.post("/login", data={"csrf": csrf_of(client.get("/login")), "token": "wrong"})
        assert signed_in(client).status_code == 303
        client.post("/logout", data={"csrf": csrf_in(client)})


def test_addresses_of_one_ipv6_network_share_the_limit(redis_url: str) -> None:
    ledger = Ledger.connect(redis_url)
    waits = [ledger.login_attempts.record(f"2001:db8::{n:x}") for n in range(1, MAX_ATTEMPTS + 2)]
    assert waits[-1] > 0
    assert not any(waits[:-1])
    assert ledger.login_attempts.record("2001:db8:0:1::1") == 0
    assert ledger.login_attempts.record("no address at all") == 0
