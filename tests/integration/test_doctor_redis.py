"""`doctor` names what is wrong with Redis, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis
from support.processes import OwnRedis
from support.refusing_redis import PASSWORD, USER, RefusingRedis, a_cluster_node, a_server_that_replies

from pipeline.cli.main import main

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"


@pytest.fixture
def server(redis: OwnRedis) -> RefusingRedis:
    return RefusingRedis(redis)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """`doctor(url)`: what it prints about this REDIS_URL; nothing else is configured. It must find a problem."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WIRO_API_URL", "http://127.0.0.1:1")

    def run(url: str) -> str:
        monkeypatch.setenv("REDIS_URL", url)
        result = CliRunner().invoke(main, ["doctor"])
        assert isinstance(result.exception, SystemExit)
        assert result.exit_code == 1
        assert PASSWORD not in result.output
        return " ".join(result.output.split())

    return run


@pytest.mark.parametrize(
    ("how", "message", "fix"),
    [
        ("full", "has no memory left and refuses writes", "Raise its maxmemory"),
        ("replica", "The server is a replica of 127.0.0.1:1", "Set REDIS_URL to the primary"),
        ("replica without primary", "is a replica that has lost its primary", "Set REDIS_URL to the primary"),
        ("too few replicas", "has too few replicas and refuses writes", "lower min-replicas-to-write"),
        ("no writes permitted", "may not use these commands on keys rq:*: SET,", "Allow them"),
        ("no scripts permitted", "permissions to run the 'evalsha' command", "Allow the user of REDIS_URL"),
        ("no waits permitted", "permissions to run the 'waitaof' command", "Allow the user of REDIS_URL"),
        ("wrong password", "refuses the user or the password", "Correct them in REDIS_URL"),
    ],
)
def test_doctor_names_what_redis_refuses(
    server: RefusingRedis, doctor: Callable[[str], str], how: str, message: str, fix: str
) -> None:
    server.refuse(how)
    printed = doctor(server.url)
    assert message in printed
    assert fix in printed


def test_doctor_finds_nothing_wrong_with_the_documented_user_and_leaves_no_key(
    redis: OwnRedis, server: RefusingRedis, doctor: Callable[[str], str]
) -> None:
    rule = re.search(r"`ACL SETUSER dailies on >PASSWORD ([^`]*)`", DEPLOY.read_text())
    assert rule
    admin: Any = Redis.from_url(redis.url)
    admin.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", *rule[1].split())
    assert "wrong Redis" not in doctor(server.url)
    assert set(admin.keys("*")) <= {b"dailies:schema", b"dailies:writable"}


def test_doctor_warns_before_memory_and_connections_are_used_up(
    redis: OwnRedis, server: RefusingRedis, doctor: Callable[[str], str]
) -> None:
    admin = Redis.from_url(redis.url)
    admin.config_set("maxmemory", int(admin.info("memory")["used_memory"] * 1.1))
    admin.config_set("maxclients", 12)
    clients = [Redis.from_url(redis.url) for _ in range(8)]
    for client in clients:
        client.ping()
    printed = doctor(server.url)
    assert "A full server refuses all writes. Raise maxmemory." in printed
    assert "of 12 connections are used." in printed
    for client in clients:
        client.close()


def test_doctor_names_a_node_of_a_cluster(tmp_path: Path, doctor: Callable[[str], str]) -> None:
    with a_cluster_node(tmp_path) as url:
        assert "The server is a node of a cluster." in doctor(url)


def test_doctor_names_a_database_that_the_server_does_not_have(
    server: RefusingRedis, doctor: Callable[[str], str]
) -> None:
    assert "has no database with this number" in doctor(server.url.replace("db=0", "db=99"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("LOADING Redis is loading the dataset in memory", "is loading its data"),
        ("ERR max number of clients reached", "has as many connections as it allows. Raise its maxclients."),
    ],
)
def test_doctor_names_a_server_that_refuses_everything(doctor: Callable[[str], str], error: str, message: str) -> None:
    with a_server_that_replies(error) as url:
        assert message in doctor(url)


def test_doctor_names_an_invalid_redis_url_once(doctor: Callable[[str], str]) -> None:
    assert doctor(f"redis://:{PASSWORD}@127.0.0.1:1/0?ssl_foo=1").count("there is no option `ssl_foo`") == 1
