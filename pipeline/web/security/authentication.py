"""Who may come in: a bearer token, a session that was opened with one, or, without any token, this machine alone.

Every route is closed unless its view says `@open_to_all`.
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

from pipeline.settings import Settings
from pipeline.web.error_responses import wants_html
from pipeline.web.security.api_tokens import Tokens

SESSION_LASTS = timedelta(hours=12)
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

View = TypeVar("View", bound=Callable[..., Any])


def open_to_all(view: View) -> View:
    """Mark a view that anybody may call. What it protects it protects itself."""
    view.is_open_to_all = True  # type: ignore[attr-defined]  # functions take attributes
    return view


def protect(app: Flask, settings: Settings) -> Tokens:
    """Put the gate before every route of `app`, and give it sessions. Answers the tokens that open it."""
    tokens = Tokens(settings.api_token.get_secret_value() if settings.api_token else "")
    keys = _session_keys(settings)
    app.config.update(
        SECRET_KEY=keys[0],
        SECRET_KEY_FALLBACKS=keys[1:],
        PERMANENT_SESSION_LIFETIME=SESSION_LASTS,
        SESSION_COOKIE_NAME="dailies",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.session_interface = _Sessions()
    app.before_request(lambda: _gate(tokens))
    app.context_processor(lambda: {"csrf_token": csrf_token, "who": g.get("who")})
    return tokens


def sign_in(mark: str) -> None:
    """Open a session for the holder of a token."""
    session.clear()
    session.permanent = True
    session["token"] = mark


def csrf_token() -> str:
    """What every form of this session carries in its field `csrf`, and every script in `X-CSRF-Token`."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def check_csrf() -> None:
    """Raise Forbidden unless the request carries the token of its session."""
    given = request.headers.get(CSRF_HEADER, "")
    if not given and request.mimetype in _FORMS:
        given = request.form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), csrf_token().encode()):
        raise Forbidden("The form is too old, or it is not ours. Go back, load the page again and repeat.")


class _Sessions(SecureCookieSessionInterface):
    salt = "dailies.session"

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Machines send no cookies: the receiver of callbacks need not look for a session.
        return super().open_session(app, request) if "HTTP_COOKIE" in request.environ else self.session_class()

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def _session_keys(settings: Settings) -> list[str]:
    """The keys of PIPELINE_SECRET, which may be rotated; without it sessions live as long as this process."""
    keys = [key.strip() for key in settings.secret.get_secret_value().split(",") if key.strip()]
    return keys or [secrets.token_hex(32)]


def _gate(tokens: Tokens) -> AnyResponse | None:
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "is_open_to_all", False) or request.endpoint == "static":
        return None
    try:
        g.who = _who(tokens)
    except HTTPException:
        if request.method == "GET" and wants_html() and tokens:
            return redirect(url_for("login.form", next=request.full_path.rstrip("?")), 303)
        raise
    return None


def _who(tokens: Tokens) -> str:
    if not tokens:
        return somebody_on_this_machine()
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if token:
        holder = tokens.holder(token.strip()) if kind.lower() == "bearer" else None
        if holder is None:
            raise Unauthorized("The bearer token is not one of this service.")
        return holder
    holder = tokens.holder_of_mark(str(session.get("token", "")))
    if holder is None:
        raise Unauthorized("Send `Authorization: Bearer TOKEN` with the token of PIPELINE_API_TOKEN.")
    if request.method not in _SAFE:
        check_csrf()
    return holder


def somebody_on_this_machine() -> str:
    """Without a token: only this machine, by its own name, and no page of another site through its browser."""
    local = _is_loopback(request.remote_addr or "") and _is_loopback(urlsplit(f"//{request.host}").hostname or "")
    if not local or any(name in request.headers for name in _FORWARDED):
        raise Forbidden("Without PIPELINE_API_TOKEN the service answers to its own machine only. Set a token.")
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
