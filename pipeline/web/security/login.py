"""Signing in with a token, and out again: for people with a browser."""

from __future__ import annotations

from contextlib import suppress

import structlog
from flask import Blueprint, Response, g, redirect, render_template, request, session
from werkzeug.wrappers import Response as AnyResponse

from pipeline.domain.formatting import duration
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.web.security.api_tokens import Tokens
from pipeline.web.security.authentication import check_csrf, open_to_all, sign_in

log = structlog.get_logger()

HOME = "/"


def blueprint(tokens: Tokens, ledger: Ledger) -> Blueprint:
    """`GET` and `POST /login`, `POST /logout`. An address may try ten times a minute, as far as `ledger` can say."""
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
        if wait_s := _wait_s(ledger, address):
            log.warning("sign_in_held_off", address=address)
            answer = _page(429, f"Too many tries from this address. Try again in {duration(wait_s)}.")
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        token = request.form.get("token", "").strip()
        holder = tokens.holder(token)
        if holder is None:
            log.warning("sign_in_refused", address=address)
            return _page(401, "That is not a token of this service.")
        sign_in(tokens.mark(token))
        with suppress(Unreachable):
            ledger.login_attempts.clear(address)
        log.info("signed_in", who=holder, address=address)
        return redirect(_within(request.form.get("next", HOME)), 303)

    @routes.post("/logout")
    def leave() -> AnyResponse:
        check_csrf()
        log.info("signed_out", who=g.who)
        session.clear()
        return redirect("/login", 303)

    return routes


def _wait_s(ledger: Ledger, address: str) -> int:
    """How long `address` has to wait; 0 where Redis is away, too: tokens are too long to be guessed meanwhile."""
    try:
        return ledger.login_attempts.record(address)
    except Unreachable:
        return 0


def _page(status: int, trouble: str = "") -> Response:
    target = _within(request.values.get("next", HOME))
    return Response(render_template("login.html", next=target, trouble=trouble), status)


def _within(target: str) -> str:
    """`target` where it is a path of this service; else the home page."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path and "\\" not in target else HOME
