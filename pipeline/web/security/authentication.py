"""Authentication by bearer token or session. Without any token, only this machine may send requests.

Every route needs authentication unless its view has `@open_to_all`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Request, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized
from werkzeug.wrappers import Response as AnyResponse

from pipeline.web.error_responses import wants_html
from pipeline.web.security.api_tokens import Tokens

SESSION_LIFETIME = timedelta(hours=12)
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

View = TypeVar("View", bound=Callable[..., Any])


def open_to_all(view: View) -> View:
    """Mark a view that needs no authentication."""
    view.is_open_to_all = True  # type: ignore[attr-defined]  # functions take attributes
    return view


def require_authentication(app: Flask, tokens: Tokens, secret: str) -> None:
    """Authenticate every request of `app` by `tokens`, and add sessions signed with the keys of `secret`."""
    keys = _session_keys(secret)
    app.config.update(
        SECRET_KEY=keys[0],
        SECRET_KEY_FALLBACKS=keys[1:],
        PERMANENT_SESSION_LIFETIME=SESSION_LIFETIME,
        SESSION_COOKIE_NAME="dailies",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.session_interface = _Sessions()
    app.before_request(lambda: _authenticate(tokens))
    app.context_processor(lambda: {"csrf_token": csrf_token, "who": g.get("who")})


def start_session(mark: str) -> None:
    """Start a session for the holder of the token with this `mark`."""
    session.clear()
    session.permanent = True
    session["token"] = mark


def csrf_token() -> str:
    """Return the CSRF token of the session: forms send it in the field `csrf`, scripts in `X-CSRF-Token`."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def check_csrf() -> None:
    """Raise Forbidden unless the request has the CSRF token of its session."""
    token = request.headers.get(CSRF_HEADER, "")
    if not token and request.mimetype in _FORMS:
        token = request.form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(token.encode("utf-8", "replace"), csrf_token().encode()):
        raise Forbidden("The form is too old, or from another site. Load the page again and repeat.")


class _Sessions(SecureCookieSessionInterface):
    salt = "dailies.session"

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Programs send no cookies, so most requests need no session.
        return super().open_session(app, request) if "HTTP_COOKIE" in request.environ else self.session_class()

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def _session_keys(secret: str) -> list[str]:
    """Return the keys in PIPELINE_SECRET. Without one, sessions end when this process exits."""
    keys = [key.strip() for key in secret.split(",") if key.strip()]
    return keys or [secrets.token_hex(32)]


def _authenticate(tokens: Tokens) -> AnyResponse | None:
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "is_open_to_all", False) or request.endpoint == "static":
        return None
    try:
        g.who = _user(tokens)
    except HTTPException:
        if request.method == "GET" and wants_html() and tokens:
            return redirect(url_for("login.form", next=request.full_path.rstrip("?")), 303)
        raise
    return None


def _user(tokens: Tokens) -> str:
    if not tokens:
        return require_local_client()
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if token:
        holder = tokens.holder(token.strip()) if kind.lower() == "bearer" else None
        if holder is None:
            raise Unauthorized("The bearer token is wrong. Send a token of PIPELINE_API_TOKEN.")
        return holder
    holder = tokens.holder_of_mark(str(session.get("token", "")))
    if holder is None:
        raise Unauthorized("Send `Authorization: Bearer TOKEN` with the token of PIPELINE_API_TOKEN.")
    if request.method not in _SAFE:
        check_csrf()
    return holder


def require_local_client() -> str:
    """Return the user "local". Raises Forbidden unless this machine sent the request, to a name of its own.

    Requests through a proxy, and of pages of other sites in a browser, are refused.
    """
    local = _is_loopback(request.remote_addr or "") and _is_loopback(urlsplit(f"//{request.host}").hostname or "")
    if not local or any(name in request.headers for name in _FORWARDED):
        raise Forbidden("Without PIPELINE_API_TOKEN only this machine may send requests. Set a token.")
    if request.method not in _SAFE:
        _refuse_other_sites()
        if request.mimetype in _FORMS and not request.path.startswith("/api/"):
            check_csrf()
    return "local"


def _refuse_other_sites() -> None:
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Forbidden("The request comes from a page of another site.")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Forbidden("The request comes from a page of another site.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
