"""What applies to every API request: counts, authentication, random faults, refusals."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from pipeline.sandbox.errors import NO_PERMISSION, SPEND_LIMIT, SUSPENDED, VALIDATION, Refusal
from pipeline.sandbox.options import Options
from pipeline.sandbox.state import STATE, SandboxState

MAX_HANG_S = 120.0
_CHECK_EVERY_S = 0.2
_ACCOUNT_REFUSALS = {"suspended": SUSPENDED, "spend-limit": SPEND_LIMIT, "permission": NO_PERMISSION}


@web.middleware
async def api_rules(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Apply the rules of the API to `POST /v1/…`; pass every other request through."""
    if not request.path.startswith("/v1/") or request.method != "POST":
        return await handler(request)
    state = request.app[STATE]
    state.requests[_endpoint(request)] += 1
    options = state.engine.options
    rejection = state.authenticator.rejection(request.headers, strict_nonce=options.strict_nonce)
    if options.account_refusal == "ip":
        rejection = f"Requested ip {request.remote} is not allowed."
    if rejection:
        return _refused(state, "auth", VALIDATION, rejection, status=401)
    return _fault_before(state) or await _fault_after(request, state, await _handled(request, state, handler))


def _endpoint(request: web.Request) -> str:
    return "/".join(request.path.split("/")[2:4]) if not request.path.startswith("/v1/Run/") else "Run"


async def _handled(request: web.Request, state: SandboxState, handler: Handler) -> web.StreamResponse:
    try:
        _check_account(state.engine.options, _endpoint(request))
        return await handler(request)
    except Refusal as refusal:
        return _refused(state, f"code {refusal.code}", refusal.code, refusal.message, status=200)
    except web.HTTPNotFound:
        return _refused(state, "404", VALIDATION, "Error parsing url.", status=404)


def _check_account(options: Options, endpoint: str) -> None:
    """Raise Refusal (0) if the account may not send requests to this endpoint."""
    message = _ACCOUNT_REFUSALS.get(options.account_refusal)
    if message and (endpoint == "Run" or (message == NO_PERMISSION and endpoint.startswith("Task/"))):
        raise Refusal(VALIDATION, message)


def _refused(state: SandboxState, reason: str, code: int, message: str, *, status: int) -> web.Response:
    state.refused[reason] += 1
    plain = state.engine.rng.chance(state.engine.options.string_errors)
    error = message if plain else {"code": code, "message": message}
    return web.json_response({"result": False, "errors": [error]}, status=status)


def _fault_before(state: SandboxState) -> web.Response | None:
    options, rng = state.engine.options, state.engine.rng
    if rng.chance(options.rate_limit):
        response = _refused(state, "429", 0, "Too many requests.", status=429)
        if rng.chance(0.5):
            response.headers["Retry-After"] = "1"
        return response
    if rng.chance(options.server_error):
        status = rng.choice((500, 502, 503))
        return _refused(state, str(status), 0, "Something went wrong.", status=status)
    return None


async def _fault_after(request: web.Request, state: SandboxState, response: web.StreamResponse) -> web.StreamResponse:
    options, rng = state.engine.options, state.engine.rng
    is_run = _endpoint(request) == "Run"
    if is_run and rng.chance(options.lose_answers):
        state.refused["answer lost"] += 1
        abort(request)
    elif is_run and rng.chance(options.bad_gateway):
        state.refused["bad gateway"] += 1
        return web.Response(status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
    elif rng.chance(options.hang):
        state.refused["hung"] += 1
        await wait_for_disconnect(request)
    elif rng.chance(options.not_json):
        state.refused["not JSON"] += 1
        return web.Response(text="<html><body>Just a moment…</body></html>", content_type="text/html")
    return response


def abort(request: web.Request) -> None:
    """Close the connection without a response."""
    if request.transport:
        request.transport.abort()


async def wait_for_disconnect(request: web.Request) -> None:
    """Send nothing until the client closes the connection, at most 120 s."""
    for _ in range(int(MAX_HANG_S / _CHECK_EVERY_S)):
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(_CHECK_EVERY_S)
