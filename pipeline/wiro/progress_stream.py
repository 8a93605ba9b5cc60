"""The vendor's WebSocket: messages about a task while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from pipeline.domain.connection_faults import reason_of
from pipeline.user_agent import USER_AGENT
from pipeline.wiro.errors import NoResponse, NotFound
from pipeline.wiro.progress_message import ProgressMessage, parse_progress

CONNECT_S = 10.0
SILENCE_S = 600.0
"""Default seconds without a message after which the stream fails."""
_MAX_MESSAGE_BYTES = 4 * 2**20


def messages(url: str, token: str, *, silence_s: float = SILENCE_S) -> Iterator[ProgressMessage]:
    """Yield the messages of the task with this token until it ends.

    Raises NoResponse if the connection breaks or no message comes for `silence_s` seconds, NotFound if the vendor
    has no such task.
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
            user_agent_header=USER_AGENT,
        ) as connection:
            connection.send(json.dumps({"type": "task_info", "tasktoken": token}))
            yield from _receive(connection, token, silence_s)
    except (WebSocketException, OSError, ValueError) as error:
        raise NoResponse(f"The stream of the vendor's messages broke: {reason_of(error)}.") from None


def _receive(connection: ClientConnection, token: str, silence_s: float) -> Iterator[ProgressMessage]:
    last_message = time.monotonic()
    while (left_s := last_message + silence_s - time.monotonic()) > 0:
        message = parse_progress(connection.recv(timeout=left_s), token)
        if message is None:
            continue
        if message.status == "error":
            raise NotFound(message.text)
        last_message = time.monotonic()
        yield message
        if message.ended:
            return
    raise TimeoutError
