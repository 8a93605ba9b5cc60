"""Signing in with a token, and out again: for people with a browser."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, g, redirect, render_template, request, session
from werkzeug.wrappers import Response as AnyResponse

from pipeline.web.auth import check_csrf, open_to_all, sign_in
from pipeline.web.tokens import Tokens

log = structlog.get_logger()

HOME = "/"


def blueprint(tokens: Tokens) -> Blueprint:
    """`GET` and `POST /login`, `POST /logout`."""
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
        token = request.form.get("token", "").strip()
        holder = tokens.holder(token)
        if holder is None:
            log.warning("sign_in_refused", address=request.remote_addr)
            return _page(401, "That is not a token of this service.")
        sign_in(tokens.mark(token))
        log.info("signed_in", who=holder, address=request.remote_addr)
        return redirect(_within(request.form.get("next", HOME)), 303)

    @routes.post("/logout")
    def leave() -> AnyResponse:
        check_csrf()
        log.info("signed_out", who=g.who)
        session.clear()
        return redirect("/login", 303)

    return routes


def _page(status: int, trouble: str = "") -> Response:
    target = _within(request.values.get("next", HOME))
    return Response(render_template("login.html", next=target, trouble=trouble), status)


def _within(target: str) -> str:
    """`target` where it is a path of this service; else the home page."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path and "\\" not in target else HOME
