"""The vendor's WebSocket: what a task says while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from pipeline.wiro.errors import NoAnswer, NotFound
from pipeline.wiro.responses import ProgressMessage, read_progress

CONNECT_S = 10.0
SILENCE_S = 600.0
"""A task that says nothing for so long is not listened to any more."""
_MAX_MESSAGE_BYTES = 4 * 2**20


def messages(url: str, token: str, *, silence_s: float = SILENCE_S) -> Iterator[ProgressMessage]:
    """The messages of the task with this token until it ends.

    Raises NoAnswer when they break off, NotFound when the vendor has no such task.
    """
    try:
        with connect(
            url,
            open_timeout=CONNECT_S,
            close_timeout=1,
            ping_interval=20,
            ping_timeout=20,
            max_size=_MAX_MESSAGE_BYTES,
            proxy=None,
        ) as connection:
            connection.send(json.dumps({"type": "task_info", "tasktoken": token}))
            yield from _until_the_end(connection, token, silence_s)
    except (WebSocketException, OSError, ValueError) as error:
        raise NoAnswer(f"The vendor's messages broke off: {type(error).__name__}.") from None


def _until_the_end(connection: ClientConnection, token: str, silence_s: float) -> Iterator[ProgressMessage]:
    heard = time.monotonic()
    while (left := heard + silence_s - time.monotonic()) > 0:
        message = read_progress(connection.recv(timeout=left), token)
        if message is None:
            continue
        if message.status == "error":
            raise NotFound(message.text)
        heard = time.monotonic()
        yield message
        if message.ended:
            return
    raise TimeoutError
