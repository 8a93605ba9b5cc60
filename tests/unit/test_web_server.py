"""Limits of the web server process that are set on its socket."""

from __future__ import annotations

import sys
import time
from errno import ETIMEDOUT
from socket import create_connection, create_server
from types import SimpleNamespace

import pytest

from pipeline.local.servers import HOST
from pipeline.web import server

MAX_WAIT_S = 120


@pytest.mark.skipif(sys.platform != "linux", reason="the option of the socket is Linux's own")
def test_a_client_that_reads_nothing_of_a_response_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALL_TIMEOUT_S", 1)
    with create_server((HOST, 0)) as listener:
        server._close_stalled_connections(SimpleNamespace(socket=listener))
        with create_connection(listener.getsockname()), listener.accept()[0] as connection:
            connection.setblocking(False)
            deadline = time.monotonic() + MAX_WAIT_S
            with pytest.raises(OSError) as closed:
                while time.monotonic() < deadline:
                    try:
                        connection.send(bytes(65536))
                    except BlockingIOError:
                        time.sleep(0.05)
    assert closed.value.errno == ETIMEDOUT
