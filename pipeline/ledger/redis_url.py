"""REDIS_URL: what it may contain. Messages never quote its password, nor what may be a part of one."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

from redis.connection import ConnectionPool
from redis.exceptions import RedisError

from pipeline.errors import InvalidSettings

_NOT_A_URL = (
    "REDIS_URL is not a Redis URL. Write redis://:PASSWORD@HOST:PORT/0, rediss://… or unix:///PATH?password=…, "
    "with % and two hexadecimal digits for each special character of the password."
)
"""Without the error of the parser, which may quote a part of the password."""
_OPTIONS = frozenset(
    (
        "db", "username", "password", "client_name", "protocol", "health_check_interval", "max_connections",
        "socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_read_size",
    )
)  # fmt: skip
_TLS_OPTIONS = frozenset(
    (
        "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_password",
        "ssl_check_hostname", "ssl_min_version", "ssl_ciphers",
    )
)  # fmt: skip
"""For `rediss://`."""
_SECONDS = ("socket_timeout", "socket_connect_timeout")
_MAX_SECONDS = 3600
_OPTION_NAME = re.compile(r"[a-z_]{1,40}")


def check_url(url: str) -> None:
    """Raise InvalidSettings if `url` cannot be used, or has a part that would have no effect."""
    try:
        parts = urlsplit(url)
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        (parts.hostname or "").encode("idna")
        is_usable = url.lower().startswith(f"{parts.scheme}://") and parts.port != 0
    except ValueError:
        raise InvalidSettings(_NOT_A_URL) from None
    if parts.scheme == "unix" and (parts.netloc.rpartition("@")[2] or not parts.path.strip("/")):
        raise InvalidSettings("REDIS_URL: unix:// needs the full path of a socket. Write unix:///PATH.")
    is_whole = "@" in parts.netloc or parts.hostname or parts.scheme == "unix"
    is_known = parts.scheme in ("redis", "rediss", "unix")
    if not (is_known and is_usable) or parts.fragment or (names and not is_whole):
        # A `#` or `?` in the password: the rest of it would look like something else.
        raise InvalidSettings(_NOT_A_URL)
    _check_database(parts)
    for name in names:
        _check_option(parts, name)


def _check_database(parts: SplitResult) -> None:
    number = parts.path.strip("/")
    if parts.scheme != "unix" and number and not (number.isascii() and number.isdecimal()):
        raise InvalidSettings(
            "REDIS_URL: what follows HOST:PORT/ must be the number of a database, such as 0. "
            "Special characters of the password need % and two hexadecimal digits."
        )


def _check_option(parts: SplitResult, name: str) -> None:
    known = _OPTIONS | _TLS_OPTIONS if parts.scheme == "rediss" else _OPTIONS
    if not _OPTION_NAME.fullmatch(name):
        raise InvalidSettings(_NOT_A_URL)
    if name in _TLS_OPTIONS - known:
        raise InvalidSettings(f"REDIS_URL: the option `{name}` needs TLS. Write rediss:// or leave it out.")
    if name not in known:
        raise InvalidSettings(f"REDIS_URL: there is no option `{name}`. Use one of {', '.join(sorted(known))}.")
    values = "&".join(part for part in parts.query.split("&") if part.partition("=")[0] == name)
    try:
        # redis-py reads the value when it creates a connection.
        connection = ConnectionPool.from_url(f"{parts.scheme}://?{values}").make_connection()
        if name in _SECONDS and not 0 < getattr(connection, name) < _MAX_SECONDS:
            raise ValueError
    except (ValueError, TypeError, RedisError):
        raise InvalidSettings(f"REDIS_URL: the value of the option `{name}` is not valid. Correct it.") from None
