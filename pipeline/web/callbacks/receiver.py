"""The receiver of Wiro's completion callbacks.

The vendor calls at most three times, two seconds apart, and takes anything but 200 for a failure. So: check the
token, ring the bell, answer 200. What happened is asked of Task/Detail, by a worker.

It stands before Flask: nothing of what Flask does is needed here, and a rush of callbacks costs a third of the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from pipeline.batches.job_queue import JobQueue
from pipeline.batches.service import Service
from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.errors import DailiesError
from pipeline.ledger.ledger import Ledger
from pipeline.observability.tracing import span
from pipeline.web.callbacks.buffered_counter import Tally
from pipeline.web.callbacks.callback_batcher import Bells
from pipeline.wiro.callbacks import parse_callback

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

PATH = "/callbacks/wiro/"
MAX_CALLBACK_BYTES = 2 * 1024 * 1024
"""As much of a body as is read: what is longer still rings, unread."""
_ANSWER_S = 4.0
"""How long a Redis that stands still is waited for: the vendor waits for us, and tries again when it is told to."""
_HEADERS = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
_HEARD = [*_HEADERS, ("Content-Length", "0")]


class Receiver:
    """`POST /callbacks/wiro/{token}`: 200 for a valid token, whatever the body; 404 for any other.

    503 where Redis cannot be told: the vendor tries again. All other requests are for `others`.
    """

    def __init__(self, others: WSGIApplication, service: Service, secret: str) -> None:
        self._others = others
        self._signer = CallbackSigner(secret) if secret else None
        redis_url = service.settings.redis_url
        self._bells = Bells(
            Ledger.connect(redis_url, socket_timeout_s=_ANSWER_S), JobQueue(redis_url, socket_timeout_s=_ANSWER_S)
        )
        self._tally = Tally(service.ledger.counters.count_callbacks)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI wants it."""
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(PATH) or environ["REQUEST_METHOD"] != "POST":
            return self._others(environ, start_response)
        run = self._signer.verify(path[len(PATH) :]) if self._signer else None
        if run is None:
            self._tally.count("rejected")
            return _problem(start_response, "404 Not Found", "No run has this token.")
        if not self._ring(run, _body(environ)):
            self._tally.count("unavailable")
            return _problem(start_response, "503 Service Unavailable", "It was not heard. Try again.")
        start_response("200 OK", _HEARD)
        return ()

    def _ring(self, run: RunId, body: bytes) -> bool:
        hint = parse_callback(body)
        names: dict[str, str | int] = {
            "batch": run.batch,
            "item": run.item,
            "attempt": run.attempt,
            "task": hint.task_id,
        }
        with span("callback", run, names):
            try:
                self._bells.ring(run, hint.task_id, hint.token)
            except DailiesError as error:
                log.warning("callback_not_taken", **names, error=str(error))
                return False
        log.info("callback_received", **names, status=hint.status)
        return True


def _body(environ: WSGIEnvironment) -> bytes:
    """The body; b'' where it is too long, or its sender went away: it rings all the same."""
    source: InputStream = environ["wsgi.input"]
    length: str = environ.get("CONTENT_LENGTH", "")
    if length.isdigit():
        wanted = int(length)
        return _read(source, wanted) if wanted <= MAX_CALLBACK_BYTES else b""
    if not environ.get("wsgi.input_terminated"):
        return b""
    data = _read(source, MAX_CALLBACK_BYTES + 1)
    return data if len(data) <= MAX_CALLBACK_BYTES else b""


def _read(source: InputStream, count: int) -> bytes:
    try:
        return source.read(count)
    except OSError:
        return b""


def _problem(start_response: StartResponse, status: str, detail: str) -> Iterable[bytes]:
    code, _, title = status.partition(" ")
    document = {"type": "about:blank", "title": title, "status": int(code), "detail": detail}
    text = json.dumps(document).encode()
    kind = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(text)))]
    start_response(status, [*_HEADERS, *kind])
    return [text]
