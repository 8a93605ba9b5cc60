"""The vendor's WebSocket: what a task says while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from pipeline.wiro_answers import ProgressMessage, read_progress
from pipeline.wiro_errors import NoAnswer

CONNECT_S = 10.0
LOOK_S = 20.0
"""After so much silence Task/Detail is asked whether the end was missed."""
SILENCE_S = 600.0
"""A task that says nothing for so long is not listened to any more."""
_MOST_MESSAGE_BYTES = 4 * 2**20

Last = Callable[[], ProgressMessage | None]


def messages(
    url: str, token: str, last: Last, *, look_s: float = LOOK_S, silence_s: float = SILENCE_S
) -> Iterator[ProgressMessage]:
    """The messages of the task with this token until it ends. `last` gives the last one if it has ended already:
    the vendor tells of that only those who listened.

    Raises NoAnswer when they break off or never come.
    """
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
            yield from _until_the_end(connection, token, last, look_s, silence_s)
    except (WebSocketException, OSError, ValueError) as error:
        raise NoAnswer(f"The vendor's messages broke off: {type(error).__name__}.") from None


def _until_the_end(
    connection: ClientConnection, token: str, last: Last, look_s: float, silence_s: float
) -> Iterator[ProgressMessage]:
    message, heard = last(), time.monotonic()
    while True:
        if message is not None:
            heard = time.monotonic()
            yield message
            if message.ended:
                return
        elif time.monotonic() - heard > silence_s:
            raise NoAnswer(f"The task has said nothing for {silence_s:.0f} s.")
        try:
            message = read_progress(connection.recv(timeout=look_s), token)
        except TimeoutError:
            message = last()
