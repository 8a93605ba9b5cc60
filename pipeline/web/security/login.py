"""Login with a token or a one-time code in a browser, and logout."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, g, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from pipeline.ledger.sign_in_codes import SignInCodeStore
from pipeline.web.security.authentication import Authenticator, check_csrf, checks_access_itself
from pipeline.web.security.failure_limit import too_many

log = structlog.get_logger()

HOME = "/"
_CODE_INVALID = (
    "This sign-in address was used before, or is older than 24 hours. `dailies up` prints a new one when it starts. "
    "Or enter the access token: `up` keeps it in the file api-token in its state folder."
)


def blueprint(authenticator: Authenticator, codes: SignInCodeStore) -> Blueprint:
    """Return `GET` and `POST /login`, `GET /sign-in?code=CODE`, `POST /logout`."""
    routes = Blueprint("login", __name__)
    tokens = authenticator.tokens

    @routes.get("/login")
    @checks_access_itself
    def form() -> AnyResponse:
        return _page(200)

    @routes.post("/login")
    @checks_access_itself
    def enter() -> AnyResponse:
        check_csrf()
        token = request.form.get("token", "").strip()
        if tokens.holder(token) is None:
            return _refused(authenticator.failures.record(token))
        _sign_in(authenticator, tokens.mark(token))
        return redirect(_local_path(request.form.get("next", HOME)), 303)

    @routes.get("/sign-in")
    @checks_access_itself
    def use_code() -> AnyResponse:
        if request.method == "HEAD":
            # Programs that preview links must not use up the code.
            return Response()
        mark = codes.use(request.args.get("code", ""))
        if mark and tokens.holder_of_mark(mark):
            _sign_in(authenticator, mark)
        elif authenticator.session_holder() is None:
            log.warning("login_refused", address=request.remote_addr)
            return _page(410, _CODE_INVALID)
        return redirect(HOME, 303)

    @routes.post("/logout")
    def leave() -> AnyResponse:
        check_csrf()
        log.info("user_logged_out", who=g.who)
        authenticator.end_session()
        return redirect("/login", 303)

    return routes


def _sign_in(authenticator: Authenticator, mark: str) -> None:
    authenticator.start_session(mark)
    log.info("user_logged_in", who=authenticator.tokens.holder_of_mark(mark), address=request.remote_addr)


def _refused(wait_s: int) -> Response:
    if wait_s:
        response = _page(429, too_many(wait_s))
        response.headers["Retry-After"] = str(wait_s)
        return response
    log.warning("login_refused", address=request.remote_addr)
    return _page(401, "That is not a token of this service.")


def _page(status: int, error: str = "") -> Response:
    target = _local_path(request.values.get("next", HOME))
    return Response(render_template("login.html", next=target, error=error), status)


def _local_path(target: str) -> str:
    """Return `target` if it is a path of this service, else the home page."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path and "\\" not in target else HOME
