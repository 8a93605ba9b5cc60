"""Authentication by bearer token or session.

Every route needs authentication unless its view has `@open_to_all` or `@checks_access_itself`. Without a configured
token only views with `@open_to_all` are served: there is no access without a token, from no address.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from flask import Flask, Request, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import Forbidden, ServiceUnavailable, Unauthorized
from werkzeug.wrappers import Response as AnyResponse

from pipeline.domain.api_tokens import Tokens
from pipeline.domain.signing import signing_keys
from pipeline.ledger.sessions import LIFETIME, SessionStore
from pipeline.settings import Settings
from pipeline.web.error_responses import error_page, wants_html
from pipeline.web.security.failure_limit import FailureLimit

log = structlog.get_logger()

CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
CLOSED = (
    "PIPELINE_API_TOKEN is not set, so this service answers callbacks and health checks only. Set it to a token of 16 "
    "characters or more and restart the web process."
)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

View = TypeVar("View", bound=Callable[..., Any])


def open_to_all(view: View) -> View:
    """Mark a view that needs no authentication."""
    view.is_open_to_all = True  # type: ignore[attr-defined]  # functions take attributes
    return view


def checks_access_itself(view: View) -> View:
    """Mark a view that authenticates its requests, or signs users in. It is not served without a configured token."""
    view.checks_access_itself = True  # type: ignore[attr-defined]  # functions take attributes
    return view


@dataclass(frozen=True)
class Authenticator:
    """Authenticates requests by `tokens` and `sessions`. `failures` limits the guesses of tokens."""

    tokens: Tokens
    sessions: SessionStore
    failures: FailureLimit

    def add_to(self, app: Flask, settings: Settings) -> None:
        """Authenticate every request of `app`."""
        keys = _session_keys(settings.secret.get_secret_value())
        app.config.update(
            SECRET_KEY=keys[0],
            SECRET_KEY_FALLBACKS=keys[1:],
            PERMANENT_SESSION_LIFETIME=LIFETIME,
            # Browsers accept `__Host-` cookies from https sites, and from this machine (docs/dashboard.md).
            SESSION_COOKIE_NAME="__Host-dailies" if settings.is_https else "dailies",
            SESSION_COOKIE_SECURE=settings.is_https,
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            SESSION_REFRESH_EACH_REQUEST=False,
        )
        app.session_interface = _Sessions()
        app.before_request(self._authenticate)
        app.context_processor(lambda: {"csrf_token": csrf_token, "who": g.get("who")})
        if not self.tokens:
            log.warning("api_token_missing", message=CLOSED)

    def start_session(self, mark: str) -> None:
        """Start a session for the holder of the token with this `mark`."""
        session_id = self.sessions.start(mark)
        self.end_session()
        session.permanent = True
        session["id"] = session_id

    def end_session(self) -> None:
        """End the session of this request, if there is one, in the ledger and in the browser."""
        if session_id := session.get("id"):
            self.sessions.end(str(session_id))
        session.clear()

    def session_holder(self) -> str | None:
        """Return the name of the holder of the token that started the session of this request."""
        session_id = session.get("id")
        mark = self.sessions.mark(str(session_id)) if session_id else None
        return self.tokens.holder_of_mark(mark) if mark else None

    def _authenticate(self) -> AnyResponse | None:
        view = current_app.view_functions.get(request.endpoint or "")
        if getattr(view, "is_open_to_all", False) or request.endpoint == "static":
            return None
        if not self.tokens:
            if request.path == "/":
                return error_page(503, CLOSED)
            raise ServiceUnavailable(CLOSED)
        if getattr(view, "checks_access_itself", False):
            return None
        try:
            g.who = self._user()
        except Unauthorized:
            if request.method == "GET" and wants_html() and "Authorization" not in request.headers:
                return redirect(url_for("login.form", next=request.full_path.rstrip("?")), 303)
            raise
        return None

    def _user(self) -> str:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if token:
            holder = self.tokens.holder(token.strip()) if kind.lower() == "bearer" else None
            if holder is None:
                self.failures.refuse(token, "The bearer token is wrong. Send a token of PIPELINE_API_TOKEN.")
            return holder
        holder = self.session_holder()
        if holder is None:
            raise Unauthorized("Send `Authorization: Bearer TOKEN` with the token of PIPELINE_API_TOKEN.")
        if request.method not in _SAFE:
            check_csrf()
        return holder


def csrf_token() -> str:
    """Return the CSRF token of the session: forms send it in the field `csrf`, scripts in `X-CSRF-Token`.

    It has another mask in each response: the size of a compressed page reveals what the page repeats.
    """
    if "csrf" not in g:
        secret = _csrf_secret()
        mask = secrets.token_bytes(len(secret))
        g.csrf = base64.urlsafe_b64encode(mask + _xor(secret, mask)).decode()
    return str(g.csrf)


def without_csrf_mask(page: bytes) -> bytes:
    """Return a page of this request with what the mask hides: equal for equal pages of a session, never to be sent."""
    return page.replace(g.csrf.encode(), _csrf_secret()) if "csrf" in g else page


def check_csrf() -> None:
    """Raise Forbidden unless the request has the CSRF token of its session.

    The headers Origin and Referer are not checked: with the Referrer-Policy of our pages, browsers send `Origin: null`.
    """
    token = request.headers.get(CSRF_HEADER, "")
    if not token and request.mimetype in _FORMS:
        token = request.form.get(CSRF_FIELD, "")
    secret = _csrf_secret()
    # A page that the version before has sent has the token without a mask.
    if not any(hmac.compare_digest(sent, secret) for sent in (_unmasked(token), token.encode("utf-8", "replace"))):
        raise Forbidden("The form is too old, or from another site. Load the page again and repeat.")


def _csrf_secret() -> bytes:
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"]).encode()


def _unmasked(token: str) -> bytes:
    try:
        data = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except ValueError:
        return b""
    return _xor(data[len(data) // 2 :], data)


def _xor(data: bytes, mask: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(data, mask, strict=False))


class _Sessions(SecureCookieSessionInterface):
    salt = "dailies.session"

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Programs send no cookies, so most requests need no session.
        return super().open_session(app, request) if "HTTP_COOKIE" in request.environ else self.session_class()

    def get_cookie_secure(self, app: Flask) -> bool:
        return super().get_cookie_secure(app) or request.is_secure


def _session_keys(secret: str) -> list[str]:
    """Return the keys in PIPELINE_SECRET. Without one, sessions end when this process exits."""
    return signing_keys(secret) or [secrets.token_hex(32)]
