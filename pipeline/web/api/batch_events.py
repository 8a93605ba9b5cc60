"""`GET /api/v1/batches/{id}/events`: the progress of a batch as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

from flask import Response
from werkzeug.exceptions import ServiceUnavailable

from pipeline.batches.json_documents import Batch
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.ledger.batches import BatchStore
from pipeline.web.api.batches import BATCH
from pipeline.web.api.endpoints import Endpoints
from pipeline.web.api.sse_subscriptions import SseSubscriptions, Subscription, TooManySubscriptions

RECONNECT_MS = 3000


def add_to(endpoints: Endpoints, batches: BatchStore, max_streams: int, shutdown: Event) -> None:
    """Add the endpoint. It serves at most `max_streams` streams; they end when `shutdown` is set."""

    def read(batch_id: str) -> tuple[str, bool]:
        row = batches.get(batch_id)
        document = Batch.of(row)
        return document.model_dump_json(), row.status in BATCH_TERMINAL

    subscriptions = SseSubscriptions(read, max_streams, shutdown)

    @endpoints.add("GET", f"{BATCH}/events", responses={200: "text/event-stream"}, errors=(404,))
    def watch_batch(batch_id: str) -> Response:
        """Watch a batch: server-sent events.

        A `progress` event carries the batch as JSON. It is sent when the batch has changed, at most once a second.
        The last event is `end`. The response is 503 if there are too many streams: then get the batch every few
        seconds instead.
        """
        try:
            subscription = subscriptions.follow(batch_id)
        except TooManySubscriptions:
            raise ServiceUnavailable("All event streams are in use. Get the batch every few seconds instead.") from None
        response = Response(_events(subscription), content_type="text/event-stream")
        response.call_on_close(subscription.close)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        return response


def _events(subscription: Subscription) -> Iterator[bytes]:
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    for text in subscription:
        yield b": heartbeat\n\n" if text is None else f"event: progress\ndata: {text}\n\n".encode()
    if subscription.has_ended:
        yield b"event: end\ndata: {}\n\n"
