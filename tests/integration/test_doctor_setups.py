"""`doctor` names cause and fix of each broken set-up of the public URL, and goes on when a check itself fails."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from urllib3.exceptions import HTTPError
from werkzeug import Request, Response
from werkzeug.middleware.http_proxy import ProxyMiddleware
from werkzeug.serving import make_server

from pipeline.cli.main import main
from pipeline.doctor import callback_request, run
from pipeline.doctor.findings import Finding, Severity
from pipeline.doctor.public_url import check_public_url
from pipeline.local.certificate import write_certificate
from pipeline.settings import Settings, load
from pipeline.web.app import create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

SECRET = "planted-secret"
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _service(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PIPELINE_SECRET", SECRET)
    monkeypatch.setenv("WIRO_API_URL", NOBODY)


@contextmanager
def serving(app: WSGIApplication, certificate: tuple[str, str] | None = None) -> Iterator[str]:
    """Serve `app` on a port of 127.0.0.1; yield its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[str]:
    """Run the web process with the settings of this test; yield its URL."""
    with serving(create_app(load())) as url:
        yield url


@Request.application
def nothing_here(_: Request) -> Response:
    return Response("nothing here", 404)


def proxy(target: str, prefix: str = "/callbacks/") -> WSGIApplication:
    """Return a proxy that passes the paths below `prefix` on to `target`, and answers 404 to all others."""
    return ProxyMiddleware(nothing_here, {prefix: {"target": target}})


def answering(answer: Callable[[Request], Response | None]) -> Callable[[str], WSGIApplication]:
    """Return a maker of proxies that give `answer` and pass on to the receiver where it is None."""

    def in_front_of(target: str) -> WSGIApplication:
        passing = proxy(target)
        return Request.application(lambda request: answer(request) or Response.from_app(passing, request.environ))

    return in_front_of


def to_https(request: Request) -> Response:
    return Response(status=301, headers={"Location": request.url.replace("http://", "https://")})


def login(request: Request) -> Response | None:
    is_known = request.authorization is not None
    return None if is_known else Response("", 401, {"WWW-Authenticate": "Basic realm=dailies"})


def small_bodies(request: Request) -> Response | None:
    return Response("", 413) if (request.content_length or 0) > 512 else None


def get_only(request: Request) -> Response | None:
    return None if request.method == "GET" else Response("", 405, {"Allow": "GET"})


def findings_at(url: str) -> list[Finding]:
    """Check the public URL `url`. No finding may show the secret or the path of a callback, which holds a token."""
    findings = list(check_public_url(load({**os.environ, "PIPELINE_PUBLIC_URL": url})))
    shown = str(findings)
    assert SECRET not in shown
    assert "callbacks/wiro" not in shown
    return findings


def problem_at(url: str) -> Finding:
    """Return the one problem of the public URL `url`."""
    [finding] = findings_at(url)
    assert finding.severity is Severity.WRONG
    assert finding.subject == "callbacks"
    assert "does not arrive" in finding.message
    return finding


def test_a_proxy_that_passes_callbacks_only_has_no_fault(receiver: str) -> None:
    with serving(proxy(receiver)) as url:
        [finding] = findings_at(url)
    assert finding.severity is Severity.OK


@pytest.mark.parametrize(
    ("in_front_of", "cause", "fix"),
    [
        pytest.param(
            lambda target: proxy(target, "/healthz"),
            "no such path (HTTP 404)",
            "pass POST requests",
            id="404",
        ),
        pytest.param(answering(to_https), "redirected (HTTP 301)", "Set PIPELINE_PUBLIC_URL=https://", id="https"),
        pytest.param(answering(login), "requires a login (HTTP 401)", "without a login", id="401"),
        pytest.param(answering(get_only), "takes no POST there (HTTP 405)", "pass POST requests", id="405"),
        pytest.param(answering(small_bodies), "no body of 1 kB (HTTP 413)", "client_max_body_size", id="413"),
        pytest.param(
            lambda _: proxy(NOBODY), "does not reach the web process (HTTP 502)", "Start the web process", id="502"
        ),
        pytest.param(
            answering(lambda _: Response("welcome")),
            "Another server answers there (HTTP 200)",
            "correct PIPELINE_PUBLIC_URL",
            id="another server",
        ),
    ],
)
def test_what_a_proxy_does_with_callbacks_is_named(
    receiver: str, in_front_of: Callable[[str], WSGIApplication], cause: str, fix: str
) -> None:
    with serving(in_front_of(receiver)) as url:
        finding = problem_at(url)
    assert cause in finding.message
    assert fix in finding.fix


def test_another_secret_of_the_web_process_is_named() -> None:
    other = create_app(load({**os.environ, "PIPELINE_SECRET": "another-secret"}))
    with serving(other) as target, serving(proxy(target)) as url:
        finding = problem_at(url)
    assert "has another PIPELINE_SECRET" in finding.message
    assert "Set the same PIPELINE_SECRET" in finding.fix


def test_a_self_signed_certificate_is_named(receiver: str, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(certificate, key, "127.0.0.1")
    with serving(proxy(receiver), (str(certificate), str(key))) as url:
        finding = problem_at(url)
    assert "certificate is self-signed" in finding.message
    assert "certificate of a public authority" in finding.fix


@pytest.mark.parametrize(
    ("url", "cause", "fix"),
    [
        pytest.param(NOBODY, "127.0.0.1 does not answer: it refuses the connection", "Start the server", id="refused"),
        pytest.param(
            "https://no-such-host.invalid",
            "no-such-host.invalid does not answer: DNS has no record of the host",
            "Create its DNS record",
            id="unknown host",
        ),
    ],
)
def test_a_server_that_cannot_be_reached_is_named(url: str, cause: str, fix: str) -> None:
    finding = problem_at(url)
    assert cause in finding.message
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("error", "cause"),
    [(OSError(errno.EHOSTUNREACH, ""), "there is no route"), (TimeoutError(), "does not answer from this machine")],
    ids=["no route", "firewall"],
)
def test_a_missing_route_is_not_reported_as_a_firewall(
    error: OSError, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise error

    # The network of the machine decides which addresses have no route.
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(HTTPError) as raised:
        callback_request.send_callback(NOBODY)
    assert cause in callback_request.cause_of(raised.value, NOBODY)[0]


@pytest.mark.parametrize(
    ("scheme", "cause", "fix"),
    [
        ("http", "takes the request and does not answer within", "Check that the proxy reaches the web process"),
        ("https", "it does not complete the TLS handshake", "If the port has no TLS, write http://"),
    ],
)
def test_a_proxy_that_hangs_is_named(scheme: str, cause: str, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_request, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(callback_request, "_CONNECT_TIMEOUT_S", 0.2)
    # The kernel accepts the connection; no process reads from it.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = problem_at(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
    assert cause in finding.message
    assert fix in finding.fix


def test_all_invalid_settings_are_listed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    invalid = {
        "PIPELINE_LEASE_S": "planted-value",
        "PIPELINE_POLL_AFTER_S": "planted-value",
        "PIPELINE_MAX_OUTPUT_MB": "planted-value",
    }
    for name, value in invalid.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["doctor", "--state", str(tmp_path)])
    assert result.exit_code == 1
    for name in invalid:
        assert result.stdout.count(f"settings: {name}: ") == 1
    assert "planted-value" not in result.output
    assert "Redis: " in result.stdout, "the other settings are checked, too"


def test_a_check_that_fails_itself_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Settings) -> Iterable[Finding]:
        raise KeyError(SECRET)

    before = [finding.subject for finding in run.run_checks(load())]
    monkeypatch.setitem(run.CHECKS, "workers", broken)
    findings = list(run.run_checks(load()))
    [failed] = [finding for finding in findings if "The check itself failed" in finding.message]
    assert (failed.severity, failed.subject) == (Severity.WRONG, "workers")
    assert "KeyError in test_doctor_setups.py:" in failed.message
    assert "report this line as a bug" in failed.fix
    assert SECRET not in str(findings)
    workers = {"workers", "scheduler", "clocks"}
    others = [finding.subject for finding in findings if finding.subject not in workers]
    assert others == [subject for subject in before if subject not in workers]
    assert {"Redis", "Wiro", "callbacks"} <= {*others}, "checks before and after it"
