"""Login with a token in a browser, and logout."""

from __future__ import annotations

from contextlib import suppress

import structlog
from flask import Blueprint, Response, g, redirect, render_template, request, session
from werkzeug.wrappers import Response as AnyResponse

from pipeline.domain.formatting import duration
from pipeline.errors import Unreachable
from pipeline.ledger.login_attempts import LoginAttempts
from pipeline.web.security.api_tokens import Tokens
from pipeline.web.security.authentication import check_csrf, open_to_all, start_session

log = structlog.get_logger()

HOME = "/"


def blueprint(tokens: Tokens, attempts: LoginAttempts) -> Blueprint:
    """Return `GET` and `POST /login`, `POST /logout`. `attempts` limits the attempts of an address."""
    routes = Blueprint("login", __name__)

    @routes.get("/login")
    @open_to_all
    def form() -> AnyResponse:
        if not tokens:
            return redirect(HOME, 303)
        return _page(200)

    @routes.post("/login")
    @open_to_all
    def enter() -> AnyResponse:
        check_csrf()
        address = request.remote_addr or ""
        if wait_s := _wait_s(attempts, address):
            log.warning("login_limited", address=address)
            response = _page(429, f"Too many attempts from this address. Try again in {duration(wait_s)}.")
            response.headers["Retry-After"] = str(wait_s)
            return response
        token = request.form.get("token", "").strip()
        holder = tokens.holder(token)
        if holder is None:
            log.warning("login_refused", address=address)
            return _page(401, "That is not a token of this service.")
        start_session(tokens.mark(token))
        with suppress(Unreachable):
            attempts.clear(address)
        log.info("user_logged_in", who=holder, address=address)
        return redirect(_local_path(request.form.get("next", HOME)), 303)

    @routes.post("/logout")
    def leave() -> AnyResponse:
        check_csrf()
        log.info("user_logged_out", who=g.who)
        session.clear()
        return redirect("/login", 303)

    return routes


def _wait_s(attempts: LoginAttempts, address: str) -> int:
    """Return the seconds that `address` has to wait; 0 if Redis is unavailable: tokens are too long to be guessed."""
    try:
        return attempts.record(address)
    except Unreachable:
        return 0


def _page(status: int, error: str = "") -> Response:
    target = _local_path(request.values.get("next", HOME))
    return Response(render_template("login.html", next=target, error=error), status)


def _local_path(target: str) -> str:
    """Return `target` if it is a path of this service, else the home page."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path and "\\" not in target else HOME
