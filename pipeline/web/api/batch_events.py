"""Server-sent events: a batch as it goes on, without asking again and again."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response
from werkzeug.exceptions import ServiceUnavailable

from pipeline.batches.documents import Batch
from pipeline.batches.service import Service
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.web.api.batches import BATCH
from pipeline.web.api.endpoints import Endpoints
from pipeline.web.api.sse_subscriptions import SseSubscriptions, Subscription, TooManySubscriptions

RECONNECT_MS = 3000


def add_to(endpoints: Endpoints, service: Service) -> None:
    """Add `GET /api/v1/batches/{batch_id}/events`."""

    def read(batch_id: str) -> tuple[str, bool]:
        row = service.ledger.batches.get(batch_id)
        document = Batch.of(row)
        return document.model_dump_json(), row.status in BATCH_TERMINAL

    subscriptions = SseSubscriptions(read, max(1, service.settings.web_threads // 2))

    @endpoints.add("GET", f"{BATCH}/events", responses={200: "text/event-stream"}, errors=(404,))
    def watch_batch(batch_id: str) -> Response:
        """Watch a batch: server-sent events.

        `progress` events carry the batch as JSON, whenever it has changed, at most once a second; an `end` event is
        the last. 503 when too many watch: then ask for the batch every few seconds instead.
        """
        try:
            watcher = subscriptions.follow(batch_id)
        except TooManySubscriptions:
            raise ServiceUnavailable("Too many watch at the moment. Ask for the batch itself instead.") from None
        answer = Response(_events(watcher), content_type="text/event-stream")
        answer.call_on_close(watcher.close)
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["X-Accel-Buffering"] = "no"
        return answer


def _events(watcher: Subscription) -> Iterator[bytes]:
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    for text in watcher:
        yield b": still there\n\n" if text is None else f"event: progress\ndata: {text}\n\n".encode()
    if watcher.has_ended:
        yield b"event: end\ndata: {}\n\n"
