"""REDIS_URL is checked before it is used, and never quoted."""

from __future__ import annotations

import pytest

from pipeline.errors import InvalidSettings
from pipeline.ledger.redis_url import check_url


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://",
        "redis://:6379/0",
        "redis://user:p%40ss@host:6380/3",
        "rediss://:p@host/0?ssl_cert_reqs=none&ssl_min_version=771",
        "unix:///run/redis.sock?db=2&password=p",
        "redis://[::1]:6379/0?socket_timeout=2.5&client_name=dailies",
    ],
)
def test_a_good_url_is_accepted(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:planted@host/notanumber", "must be the number of a database"),
        ("redis://:planted@host/0/1", "must be the number of a database"),
        ("redis://:planted@host?db=abc", "the value of the option `db`"),
        ("redis://:planted@host?protocol=7", "the value of the option `protocol`"),
        ("rediss://:planted@host?ssl_cert_reqs=perhaps", "the value of the option `ssl_cert_reqs`"),
        ("redis://:planted@host/0?ssl_foo=1", "there is no option `ssl_foo`"),
        ("redis://:planted@host/0?decode_responses=1", "there is no option `decode_responses`"),
        ("redis://:planted@host/0?ssl_cert_reqs=none", "the option `ssl_cert_reqs` needs TLS"),
        ("redis://:planted@host:port", "is not a Redis URL"),
        ("redis://:1#planted@host", "is not a Redis URL"),
        ("redis://:1?planted=x@host", "is not a Redis URL"),
        ("redis://:a/planted@host", "is not a Redis URL"),
        ("redis://[::1?planted", "is not a Redis URL"),
        ("http://planted@host", "is not a Redis URL"),
        ("planted", "is not a Redis URL"),
        ("redis:", "is not a Redis URL"),
        (" redis://:planted@host", "is not a Redis URL"),
        ("redis://:planted@host:0", "is not a Redis URL"),
        ("redis://:planted@a..b", "is not a Redis URL"),
        ("unix://:planted@run/redis.sock", "needs the full path of a socket"),
        ("unix://?password=planted", "needs the full path of a socket"),
        ("redis://:planted@host?socket_timeout=-1", "the value of the option `socket_timeout`"),
        ("redis://:planted@host?socket_connect_timeout=nan", "the value of the option `socket_connect_timeout`"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(url: str, message: str) -> None:
    with pytest.raises(InvalidSettings, match=message) as caught:
        check_url(url)
    assert "REDIS_URL" in str(caught.value)
    assert "planted" not in str(caught.value)
