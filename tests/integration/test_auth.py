"""Authentication, CSRF and security headers. Without a Redis server where requests are refused earlier."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.access import BEARER, TOKEN
from werkzeug.test import TestResponse

from pipeline.domain.api_tokens import Tokens
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.sign_in_codes import LIFETIME
from pipeline.settings import Settings
from pipeline.web import create_app

OTHER_TOKEN = "another-token-of-the-tests"
PUBLIC_URL = "https://dailies.example"
NO_REDIS = "redis://127.0.0.1:1/0"
CLOSED = "/api/v1/batches"


def a_client(redis_url: str = NO_REDIS, **values: Any) -> FlaskClient:
    """A client of an app with TOKEN and a signing secret, unless `values` has others."""
    given = {"secret": "a-secret-of-the-tests", "api_token": TOKEN, "redis_url": redis_url, **values}
    return create_app(Settings.model_validate(given)).test_client()


def csrf_of(page: TestResponse) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found
    return found[1]


def signed_in(client: FlaskClient, token: str = TOKEN, **more: Any) -> TestResponse:
    data = {"csrf": csrf_of(client.get("/login")), "token": token, "next": "/batches/one"}
    return client.post("/login", data=data, **more)


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


def test_a_browser_is_sent_to_the_login_page_and_back(redis_url: str) -> None:
    client = a_client(redis_url)
    sent = client.get("/batches/one", headers={"Accept": "text/html"})
    assert sent.status_code == 303
    assert sent.location == "/login?next=/batches/one"
    entered = signed_in(client)
    assert entered.status_code == 303
    assert entered.location == "/batches/one"
    assert client.get("/no-such-thing").status_code == 404


def test_a_wrong_bearer_token_is_an_error_for_browsers_too() -> None:
    headers = {"Accept": "text/html", "Authorization": "Bearer wrong"}
    assert a_client().get("/batches/one", headers=headers).status_code == 401


def test_scripts_and_other_sites_cannot_read_the_session_cookie(redis_url: str) -> None:
    cookie = signed_in(a_client(redis_url)).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Expires=" in cookie
    assert TOKEN not in cookie


def test_where_the_public_url_is_https_cookies_are_secure_and_of_this_host_only(redis_url: str) -> None:
    client = a_client(redis_url, public_url=PUBLIC_URL)
    for answer in (client.get("/login"), signed_in(client)):
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-dailies=")
        assert "; Secure" in cookie
        assert "; Path=/" in cookie
        assert "Domain" not in cookie
    assert client.get("/no-such-thing").status_code == 404
    plain = a_client(public_url="http://127.0.0.1:8000").get("/login").headers["Set-Cookie"]
    assert plain.startswith("dailies=")
    assert "; Secure" not in plain


def test_a_session_cookie_set_over_tls_is_sent_over_tls_only() -> None:
    assert "; Secure" in a_client().get("/login", base_url=PUBLIC_URL).headers["Set-Cookie"]
    proxied = a_client(trusted_proxies="127.0.0.1").get("/login", headers={"X-Forwarded-Proto": "https"})
    assert "; Secure" in proxied.headers["Set-Cookie"]


def test_a_wrong_token_does_not_sign_in() -> None:
    client = a_client()
    answer = signed_in(client, "wrong")
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
def test_login_redirects_to_no_other_site(redis_url: str, target: str) -> None:
    client = a_client(redis_url)
    csrf = csrf_of(client.get("/login"))
    assert client.post("/login", data={"csrf": csrf, "token": TOKEN, "next": target}).location == "/"


def test_a_session_changes_nothing_without_its_csrf_token(redis_url: str) -> None:
    client = a_client(redis_url)
    signed_in(client)
    assert client.post("/api/v1/no-such-thing").status_code == 403
    csrf = csrf_in(client)
    assert client.post("/api/v1/no-such-thing", headers={"X-CSRF-Token": csrf}).status_code == 404
    # The pages are sent with a Referrer-Policy with which browsers hide the origin of forms.
    assert client.post("/no-such-thing", data={"csrf": csrf}, headers={"Origin": "null"}).status_code == 404


def cookie_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("dailies")
    assert cookie
    return cookie.value


def with_cookie(client: FlaskClient, cookie: str) -> FlaskClient:
    client.set_cookie("dailies", cookie)
    return client


def test_a_session_ends_when_its_token_is_withdrawn(redis_url: str) -> None:
    client = a_client(redis_url)
    signed_in(client)
    after = with_cookie(a_client(redis_url, api_token=OTHER_TOKEN), cookie_of(client))
    assert after.get(CLOSED).status_code == 401


def test_a_session_signed_with_another_secret_is_refused(redis_url: str) -> None:
    client = a_client(redis_url)
    signed_in(client)
    cookie = cookie_of(client)
    assert with_cookie(a_client(redis_url, secret="another-secret"), cookie).get(CLOSED).status_code == 401
    rotated = with_cookie(a_client(redis_url, secret="another-secret,a-secret-of-the-tests"), cookie)
    assert rotated.get("/no-such-thing").status_code == 404


def test_logout_ends_the_session_also_for_a_copy_of_its_cookie(redis_url: str) -> None:
    client = a_client(redis_url)
    signed_in(client)
    copy = with_cookie(a_client(redis_url), cookie_of(client))
    assert copy.get("/no-such-thing").status_code == 404
    assert client.post("/logout", data={"csrf": csrf_in(client)}).location == "/login"
    assert client.get(CLOSED).status_code == 401
    assert copy.get(CLOSED).status_code == 401


def test_a_new_session_ends_the_one_before(redis_url: str) -> None:
    client = a_client(redis_url)
    signed_in(client)
    before = with_cookie(a_client(redis_url), cookie_of(client))
    signed_in(client)
    assert client.get("/no-such-thing").status_code == 404
    assert before.get(CLOSED).status_code == 401


def test_redis_stores_neither_session_ids_nor_codes(ledger: Ledger, redis_url: str) -> None:
    code = ledger.sign_in_codes.create(Tokens(TOKEN).first_mark())
    client = a_client(redis_url)
    signed_in(client)
    with client.session_transaction() as session:
        session_id = session["id"]
    (session_key,) = ledger.redis.keys("dailies:session:*")
    (code_key,) = ledger.redis.keys("dailies:sign_in_code:*")
    stored = f"{session_key} {code_key} {ledger.redis.get(session_key)} {ledger.redis.get(code_key)}"
    assert not any(secret in stored for secret in (session_id, code, TOKEN))
    assert 0 < ledger.redis.ttl(session_key) <= 12 * 3600
    assert 0 < ledger.redis.ttl(code_key) <= LIFETIME.total_seconds() == 24 * 3600


def test_while_redis_is_unavailable_a_session_is_an_error_and_a_bearer_token_works(redis_url: str) -> None:
    client = a_client(redis_url)
    signed_in(client)
    away = with_cookie(a_client(), cookie_of(client))
    assert away.get("/no-such-thing").status_code == 503
    assert away.get("/no-such-thing", headers=BEARER).status_code == 404


def a_code(ledger: Ledger, token: str = TOKEN) -> str:
    return ledger.sign_in_codes.create(Tokens(token).first_mark())


def test_a_code_signs_a_browser_in_once(ledger: Ledger, redis_url: str) -> None:
    address = f"/sign-in?code={a_code(ledger)}"
    client = a_client(redis_url)
    assert client.head(address).status_code == 200
    entered = client.get(address)
    assert (entered.status_code, entered.location) == (303, "/")
    assert client.get("/no-such-thing").status_code == 404
    assert client.get(address).location == "/"
    again = a_client(redis_url).get(address)
    assert again.status_code == 410
    assert "dailies up" in again.text
    assert "api-token" in again.text
    assert 'name="token"' in again.text


@pytest.mark.parametrize("query", ["", "?code=", "?code=forged", "?code=%FF%00", f"?code={'x' * 5000}"])
def test_a_wrong_code_does_not_sign_in(redis_url: str, query: str) -> None:
    client = a_client(redis_url)
    assert client.get(f"/sign-in{query}").status_code == 410
    assert client.get(CLOSED).status_code == 401


def test_a_code_ends_with_its_token(ledger: Ledger, redis_url: str) -> None:
    assert a_client(redis_url).get(f"/sign-in?code={a_code(ledger, OTHER_TOKEN)}").status_code == 410


def test_a_code_is_neither_logged_nor_sent_to_other_sites(
    ledger: Ledger, redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code = a_code(ledger)
    answers = [a_client(redis_url).get(f"/sign-in?code={code}") for _ in range(2)]
    written = capfd.readouterr().err
    assert "user_logged_in" in written
    assert "login_refused" in written
    assert code not in written
    assert all(answer.headers["Referrer-Policy"] == "no-referrer" for answer in answers)
    assert all(code not in answer.text for answer in answers)


@pytest.mark.parametrize("token", [None, ""])
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "dailies.example"])
def test_without_a_configured_token_only_callbacks_and_health_checks_are_served(token: str | None, host: str) -> None:
    client = a_client(api_token=token, events_token=OTHER_TOKEN)
    address = {"base_url": f"http://{host}"}
    for path in (CLOSED, "/metrics", "/openapi.json", "/no-such-thing", "/docs", "/login", "/sign-in?code=x"):
        answer = client.get(path, **address)
        assert answer.status_code == 503
        assert answer.json is not None
        assert "PIPELINE_API_TOKEN" in answer.json["detail"]
    for path in ("/api/v1/batches", "/events/s3", "/login", "/logout", "/schedules/nightly/run"):
        assert client.post(path, headers={"Authorization": f"Bearer {OTHER_TOKEN}"}, **address).status_code == 503
    assert client.get("/healthz", **address).status_code == 200
    assert client.get("/static/dashboard.css", **address).status_code == 200
    assert client.post("/callbacks/wiro/forged", **address).status_code == 404


def test_without_a_configured_token_the_home_page_and_the_log_state_the_reason(
    capfd: pytest.CaptureFixture[str],
) -> None:
    client = a_client(api_token=None)
    assert '"event": "api_token_missing", "level": "warning"' in capfd.readouterr().err
    for accept in ("text/html", "*/*"):
        page = client.get("/", headers={"Accept": accept})
        assert page.status_code == 503
        assert page.content_type.startswith("text/html")
        assert "PIPELINE_API_TOKEN is not set" in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8000"},
        {"Host": "localhost"},
        {"Host": "evil.example", "X-Forwarded-For": "127.0.0.1"},
        {"Host": "localhost", "Forwarded": "for=127.0.0.1;host=localhost"},
    ],
)
def test_with_a_token_a_request_from_this_machine_needs_it_too(headers: dict[str, str]) -> None:
    # As a tunnel on this machine sends it: the peer is a loopback address and the client chooses the Host header.
    assert a_client().get(CLOSED, headers=headers).status_code == 401


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
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Strict-Transport-Security" not in answer.headers


def test_where_the_public_url_is_https_browsers_use_nothing_else() -> None:
    answer = a_client(public_url=PUBLIC_URL).get("/login")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


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
