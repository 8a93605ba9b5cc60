"""Callbacks of `doctor`: those of its own request, and those of the run of `doctor --live`."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from flask import request

from pipeline.errors import DailiesError
from pipeline.ledger.live_checks import LiveCheckStore, ReceivedCallback
from pipeline.wiro.body_shape import body_shape
from pipeline.wiro.callbacks import parse_callback

log = structlog.get_logger()

_MAX_HEADERS = 64
_MAX_NAME_CHARS = 64
_MAX_TYPE_CHARS = 100


def record(store: LiveCheckStore, check_id: str, body: bytes) -> int:
    """Record how a callback came. Return the status of the response. Neither body nor values of headers are stored."""
    received = datetime.now(UTC)
    hint = parse_callback(body)
    try:
        status = 503 if store.refuses_next(check_id) else 200
        callback = ReceivedCallback(
            received=received,
            status=status,
            headers=tuple(sorted(name[:_MAX_NAME_CHARS] for name in request.headers.keys())[:_MAX_HEADERS]),  # noqa: SIM118
            content_type=(request.content_type or "")[:_MAX_TYPE_CHARS],
            shape=body_shape(body),
            names_task=bool(hint.task_id or hint.token),
        )
        store.add(check_id, callback)
    except DailiesError as error:
        log.warning("check_callback_not_recorded", error=str(error))
        return 503
    log.info("check_callback_received", status=status)
    return status
