"""The vendor's WebSocket: what a task says while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from pipeline.wiro_answers import ProgressMessage, read_progress
from pipeline.wiro_errors import NoAnswer

CONNECT_S = 10.0
SILENCE_S = 600.0
"""A task that says nothing for so long is not listened to any more."""
_MOST_MESSAGE_BYTES = 4 * 2**20


def messages(url: str, token: str, *, silence_s: float = SILENCE_S) -> Iterator[ProgressMessage]:
    """The messages of the task with this token until it ends. Raises NoAnswer when they break off."""
    try:
        with connect(
            url,
            open_timeout=CONNECT_S,
            close_timeout=1,
            ping_interval=20,
            ping_timeout=20,
            max_size=_MOST_MESSAGE_BYTES,
            proxy=None,
        ) as connection:
            connection.send(json.dumps({"type": "task_info", "tasktoken": token}))
            while True:
                message = read_progress(connection.recv(timeout=silence_s), token)
                if message is None:
                    continue
                yield message
                if message.ended:
                    return
    except (WebSocketException, OSError, ValueError) as error:
        raise NoAnswer(f"The vendor's messages broke off: {type(error).__name__}.") from None
