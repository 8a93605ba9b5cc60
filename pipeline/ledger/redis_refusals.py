"""Replies of a Redis server that refuses to serve: what each means, and what to do.

A reply that is not known here is a refusal, too, with its own words: managed servers and proxies have errors of their
own. Only what shows a bug or damaged data, such as WRONGTYPE or an error in a script, is none.
Codes and texts are those of Redis 7.2 and Valkey 9: `src/server.c`, `src/script.c`, `src/cluster.c`, `src/acl.c`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    InvalidResponse,
    NoScriptError,
    RedisError,
    ResponseError,
)

_MAX_DETAIL = 200


@dataclass(frozen=True)
class Refusal:
    """Why a server refuses. `what` continues "Redis at HOST"; `fix` is a sentence or two."""

    what: str
    fix: str

    def message(self, server: str = "") -> str:
        """Return the message for people. `server`: `host:port` or a path."""
        return f"Redis{f' at {server}' if server else ''} {self.what}. {self.fix}"


_USE_PRIMARY = "Set REDIS_URL to the primary. If its name leads there after a failover, wait."
_PASSWORD = Refusal("refuses the user or the password", "Correct them in REDIS_URL.")
_REPLICA = Refusal("is a read-only replica", _USE_PRIMARY)
_CLUSTER = Refusal(
    "is a node of a cluster, which is not supported", "Set REDIS_URL to a server without cluster mode (docs/deploy.md)."
)
_NOT_PERMITTED = Refusal(
    "refuses a request of this user",
    "Allow the user of REDIS_URL the keys, channels and commands of docs/deploy.md.",
)
_NO_DATABASE = Refusal(
    "has no database with this number",
    "Use a lower one at the end of REDIS_URL: most servers have 0 to 15, clusters and many managed servers only 0.",
)
_NO_COMMAND = Refusal(
    "lacks a command that the service needs",
    "Use Redis 7.2 or newer, or Valkey, and rename no commands.",
)
_NOT_REDIS = Refusal(
    "does not speak the protocol of Redis",
    "Correct the address in REDIS_URL. If the port expects TLS, write rediss://.",
)

NO_SCRIPTS = Refusal(
    "does not keep scripts",
    "Set REDIS_URL to one server, not to a proxy that passes commands on to several.",
)
"""It has just loaded a script and does not know it."""
_UNKNOWN_FIX = "`dailies doctor` tests the server. Ask its provider what this reply means."

_CODES = {
    "OOM": Refusal("has no memory left and refuses writes", "Raise its maxmemory."),
    "READONLY": _REPLICA,
    "UNBLOCKED": Refusal("has become a replica, or lost data", _USE_PRIMARY),
    "MASTERDOWN": Refusal("is a replica that has lost its primary", _USE_PRIMARY),
    "LOADING": Refusal("is loading its data", "Wait until it has started."),
    "BUSY": Refusal("is busy with a script", "Wait, or end the script of another program with SCRIPT KILL."),
    "MISCONF": Refusal("cannot save to its disk and refuses writes", "Check its disk, its permissions and its log."),
    "NOREPLICAS": Refusal("has too few replicas and refuses writes", "Repair them, or lower min-replicas-to-write."),
    "CLUSTERDOWN": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
    "NOPERM": _NOT_PERMITTED,
    "WRONGPASS": _PASSWORD,
    "NOAUTH": Refusal("needs a password", "Write it into REDIS_URL: redis://:PASSWORD@HOST:PORT/0."),
    "DENIED": Refusal(
        "is in protected mode and refuses other machines", "Set a password on the server and in REDIS_URL."
    ),
}
_TEXTS = (
    ("max number of clients reached", Refusal("has as many connections as it allows", "Raise its maxclients.")),
    ("DB index", _NO_DATABASE),
    ("SELECT is not allowed in cluster mode", _NO_DATABASE),
    ("ACL failure in script", _NOT_PERMITTED),
    ("access a non local key in a cluster", _CLUSTER),
    ("do not hash to the same slot", _CLUSTER),
    ("WAITAOF cannot be used with replica", _REPLICA),
)
"""Beginnings or parts of replies that have the code ERR, or none."""
_OPTIONAL_COMMAND = "WAITAOF"
"""`durability.py` and `doctor` handle its absence."""
_SCRIPT_ERROR = re.compile(r"Error running script .*?: -(?=[A-Z]+ )")
"""Redis before 7.0 wraps the error of a command in a script."""
_CODE = re.compile(r"[A-Z]+(?= )")
_OF_DATA = re.compile(
    r"WRONGTYPE |no such key|(?:value|score|min or max) is not |out of range|would overflow|would produce"
    r"|exceeds maximum|user_script:"
)
"""Replies that show a bug or damaged data: the server serves other requests."""
_ARGUMENTS = re.compile(r",? with args beginning with.*", re.DOTALL)
_COMMAND = re.compile(r"nknown (?:Redis )?command[^'`]*['`]?([A-Za-z|]*)")


class ServerRefused(ConnectionError, ResponseError):
    """The server refuses to serve. redis-py and RQ handle this as a lost connection: they connect again and retry.

    It is a ResponseError as well, for callers that do without a command that they may not use.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message())
        self.refusal = refusal


def refusal_of(error: RedisError) -> Refusal | None:
    """Return why the server refuses to serve, None if `error` has another or an unknown reason."""
    if isinstance(error, ServerRefused):
        return error.refusal
    if isinstance(error, InvalidResponse):
        return _NOT_REDIS
    text = _text(error)
    code = error.status_code if error.status_code not in (None, "ERR") else _first_word(text)
    if code in _CODES:
        return _with_detail(_CODES[code], text)
    if isinstance(error, AuthenticationError):
        return _PASSWORD
    if missing := _COMMAND.search(text):
        return None if missing[1].upper() == _OPTIONAL_COMMAND else replace(_NO_COMMAND, what=_lacks(missing[1]))
    return next((_with_detail(refusal, text) for part, refusal in _TEXTS if part in text), None)


def translate(call: Callable[[], Any]) -> Any:
    """Return what `call()` returns. Raises ServerRefused if the server refuses to serve."""
    try:
        result = call()
    except RedisError as error:
        refusal = _any_refusal(error)
        if refusal is None or isinstance(error, ServerRefused):
            raise
        raise ServerRefused(refusal) from error
    if isinstance(result, list) and result and isinstance(result[0], ResponseError):
        # A pipeline that collects errors: its first command is what it is for.
        refusal = _any_refusal(result[0])
        if refusal is not None:
            raise ServerRefused(refusal)
    return result


def _any_refusal(error: RedisError) -> Refusal | None:
    return refusal_of(error) or _unknown_refusal(error)


def _unknown_refusal(error: RedisError) -> Refusal | None:
    """Return the refusal that an unknown error reply is, None if it shows a bug or damaged data, or is no reply."""
    if not isinstance(error, ResponseError) or isinstance(error, NoScriptError):
        return None
    text = _text(error)
    if _OF_DATA.search(text) or _OPTIONAL_COMMAND in text.upper():
        return None
    reply = _ARGUMENTS.sub("", text).strip(" .")[:_MAX_DETAIL] or "an error without a text"
    return Refusal(f"refuses a request: {reply}", _UNKNOWN_FIX)


def _text(error: RedisError) -> str:
    """Return the reply. redis-py puts the command, which contains text of users, before the errors of pipelines."""
    return _SCRIPT_ERROR.sub("", str(error).rpartition(" of pipeline caused error: ")[2])


def _first_word(text: str) -> str | None:
    found = _CODE.match(text)
    return found[0] if found else None


def _lacks(command: str) -> str:
    return f"lacks the command {command.upper()}" if command else _NO_COMMAND.what


def _with_detail(refusal: Refusal, text: str) -> Refusal:
    """Add what is not permitted: the reply names the user and the command."""
    if refusal is not _NOT_PERMITTED:
        return refusal
    detail = text.removeprefix("NOPERM ").rpartition("ACL failure in script: ")[2].partition(" script: ")[0].strip(" .")
    return replace(refusal, what=f"{refusal.what}: {detail[:_MAX_DETAIL]}")
