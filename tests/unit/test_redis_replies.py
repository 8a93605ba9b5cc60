"""Which replies of Redis mean that it refuses to serve."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from redis.connection import DefaultParser
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    InvalidResponse,
    NoScriptError,
    ResponseError,
    TimeoutError,
)

from pipeline.ledger.redis_refusals import ServerRefused, refusal_of, translate


def reply(text: str) -> ResponseError:
    """Return the error that redis-py makes of the reply `text`."""
    parser: Any = DefaultParser
    error: ResponseError = parser.parse_error(text)
    return error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: 3a, on @user_script:7.", "no memory"),
        ("ERR OOM command not allowed when used memory > 'maxmemory'. script: on @user_script:1.", "no memory"),
        ("ERR Error running script (call to f_1a): @user_script:3: @user_script: 3: -OOM command not", "no memory"),
        ("READONLY You can't write against a read only replica.", "read-only replica"),
        ("UNBLOCKED force unblock from blocking operation, instance state changed", "become a replica"),
        ("ERR WAITAOF cannot be used with replica instances.", "read-only replica"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "node of a cluster"),
        ("ERR Script attempted to access a non local key in a cluster node", "node of a cluster"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "node of a cluster"),
        ("NOPERM User u has no permissions to run the 'set' command", "User u has no permissions to run the 'set'"),
        ("ERR ACL failure in script: No permissions to access a key script: on @x", "No permissions to access a key."),
        ("ERR SELECT is not allowed in cluster mode", "no database"),
        ("ERR invalid DB index", "no database"),
        ("ERR unknown command `BLMOVE`, with args beginning with: `secret`", "lacks the command BLMOVE"),
        ("ERR Unknown Redis command called from script script: 3a", "lacks a command"),
        ("ERR AUTH <password> called without any password configured for the default user. Are you sure your "
         "configuration is correct?", "refuses the user or the password"),
    ],
)  # fmt: skip
def test_a_refusal_is_known_by_its_reply(text: str, words: str) -> None:
    refusal = refusal_of(reply(text))
    assert refusal
    assert words in refusal.message()
    assert "secret" not in refusal.message()


@pytest.mark.parametrize(
    "error",
    [
        reply("WRONGTYPE Operation against a key holding the wrong kind of value"),
        reply("ERR value is not an integer or out of range"),
        reply("ERR user_script:22: illegal transition pending -> running script: 3a, on @user_script:22."),
        reply("ERR unknown command 'WAITAOF', with args beginning with: '1' '0' '2000'"),
        NoScriptError("No matching script. Please use EVAL."),
        ConnectionError("Connection closed by server."),
        TimeoutError("Timeout reading from host"),
    ],
)
def test_another_error_is_no_refusal(error: ResponseError) -> None:
    assert refusal_of(error) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ERR syntax error", "refuses a request: syntax error."),
        ("NOTREADY warming up", "refuses a request: NOTREADY warming up."),
        ("ERR wrong number of arguments, with args beginning with: 'secret'", "wrong number of arguments."),
        ("NOTREADY warming up script: 3a, on @script:1.", "NOTREADY"),
    ],
)
def test_an_unknown_reply_is_a_refusal_in_its_own_words(text: str, words: str) -> None:
    with pytest.raises(ServerRefused) as caught:
        translate(partial(fail, reply(text)))
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR hash value is not an integer",
        "ERR no such key",
        "ERR user_script:22: illegal transition pending -> running script: 3a, on @user_script:22.",
        "ERR unsupported command WAITAOF",
    ],
)
def test_what_shows_damaged_data_stays_as_it_is(text: str) -> None:
    error = reply(text)
    with pytest.raises(ResponseError) as caught:
        translate(partial(fail, error))
    assert caught.value is error


def fail(error: Exception) -> None:
    raise error


def test_the_text_of_a_command_in_a_pipeline_decides_nothing() -> None:
    error = reply("MISCONF Redis is configured to save RDB snapshots")
    error.args = (f"Command # 1 (SET k OOM READONLY) of pipeline caused error: {error}",)
    refusal = refusal_of(error)
    assert refusal
    assert "cannot save to its disk" in refusal.message()


def test_other_servers_and_wrong_passwords_are_refusals() -> None:
    for error, words in (
        (AuthenticationError("Invalid Username or Password"), "refuses the user"),
        (InvalidResponse("Protocol Error: b'HTTP/1.1 400 Bad Request'"), "does not speak the protocol"),
    ):
        refusal = refusal_of(error)
        assert refusal
        assert words in refusal.message("host:6379")
