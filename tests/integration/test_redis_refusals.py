"""A Redis that answers and refuses to serve: what commands, API, callbacks and probes report; work continues."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from pydantic import SecretStr
from support.access import BEARER, TOKEN
from support.api_client import a_manifest, send
from support.ledger_fixtures import a_batch, claims, fail, running
from support.processes import OwnRedis, s3_environment
from support.refusing_redis import (
    PASSWORD,
    REFUSALS,
    WRITES_ONLY,
    RefusingRedis,
    a_cluster_node,
    a_server_that_replies,
)
from support.waiting import WaitFor

from pipeline.cli.main import main
from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.errors import ServiceRefuses
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.redis_client import RQRedis, WrongData, connect
from pipeline.local.servers import S3Env
from pipeline.local.state_file import write_environment
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web import create_app

SECRET = "a-secret-of-the-tests"
WORDS = {
    "full": "has no memory left and refuses writes",
    "replica": "is a read-only replica",
    "too few replicas": "has too few replicas",
    "no writes permitted": "refuses a request of this user",
    "replica without primary": "is a replica that has lost its primary",
    "wrong password": "refuses the user or the password",
    "too many clients": "",  # the server may close the connection before its reply is read
    "no scripts permitted": "refuses a request of this user",
}
WRITES = (
    ("submit", "{manifest}", "--batch-id", "new"),
    ("cancel", "b"),
    ("retry", "b"),
    ("pause",),
    ("pause", "b"),
    ("resume",),
    ("schedules", "pause", "nightly"),
    ("schedules", "run", "nightly"),
    ("recover", "{folder}"),
)
READS = (
    ("status",),
    ("status", "b"),
    ("watch", "b"),
    ("list",),
    ("items", "b"),
    ("results", "b"),
    ("pull", "b"),
    ("open", "b"),
    ("logs", "b", "i0"),
    ("schedules",),
)


@pytest.fixture
def server(redis: OwnRedis) -> RefusingRedis:
    return RefusingRedis(redis)


@pytest.fixture
def settings(server: RefusingRedis, s3_server: S3Env, storage: Storage, bucket: str, tmp_path: Path) -> Settings:
    schedules = tmp_path / "schedules.yaml"
    schedules.write_text('schedules: [{name: nightly, cron: "0 2 * * *", timezone: UTC, manifest: nightly.yaml}]')
    (tmp_path / "nightly.yaml").write_text(json.dumps(a_manifest()))
    return Settings(
        redis_url=server.url,
        s3_endpoint=s3_server.endpoint,
        output=bucket,
        secret=SecretStr(SECRET),
        api_token=SecretStr(TOKEN),
        wiro_api_url="http://127.0.0.1:1",
        schedules=schedules,
    )


@pytest.fixture
def cli(
    settings: Settings, s3_server: S3Env, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """`cli(*args)`: run a command; return its exit code and what it printed."""
    environment = {
        **s3_environment(s3_server),
        "REDIS_URL": settings.redis_url,
        "PIPELINE_OUTPUT": bucket,
        "PIPELINE_SCHEDULES": str(settings.schedules),
        "WIRO_API_URL": settings.wiro_api_url,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    folder = f"{bucket}lost/"
    Storage(s3_server.endpoint).put(
        f"{folder}manifest.yaml", json.dumps({**a_manifest(), "output": bucket}).encode(), "application/yaml"
    )
    values = {"manifest": str(tmp_path / "nightly.yaml"), "folder": folder}

    def run(*args: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, [arg.format(**values) for arg in args])
        assert isinstance(result.exception, SystemExit | None), args
        return result.exit_code, result.output

    return run


def api_of(settings: Settings) -> FlaskClient:
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def callback(client: FlaskClient, run: RunId) -> int:
    return client.post(CallbackSigner(SECRET).url("", run), data=b"{}").status_code


@pytest.mark.parametrize("how", REFUSALS)
def test_commands_report_what_redis_refuses_and_exit_with_3(
    server: RefusingRedis, cli: Callable[..., tuple[int, str]], how: str
) -> None:
    ledger = Ledger.connect(server.url)
    a_batch(ledger)
    running(ledger, 1)
    fail(ledger, "No face.")
    server.refuse(how)
    for args in WRITES if how in WRITES_ONLY else (*WRITES, *READS):
        code, output = cli(*args)
        assert code == 3, (args, output)
        assert f"Redis at {server.path} " in output
        assert WORDS[how] in output
        assert PASSWORD not in output
    server.serve()
    assert cli("status", "b")[0] == 0
    assert cli("submit", "{manifest}", "--batch-id", "new")[0] == 0


@pytest.mark.parametrize("how", REFUSALS)
def test_callbacks_and_the_api_return_503_and_work_again_afterwards(
    server: RefusingRedis, settings: Settings, wait_for: WaitFor, how: str
) -> None:
    client = api_of(settings)
    ledger = Ledger.connect(server.url)
    a_batch(ledger, items=1)
    [claim] = running(ledger, 1, poll_after_s=600)
    wait_for(lambda: client.get("/readyz").status_code == 200, "readiness")
    server.refuse(how)
    assert callback(client, claim.run) == 503
    refused = [client.post("/api/v1/batches/b/pause")]
    if how not in (*WRITES_ONLY, "no scripts permitted"):
        html = {"Accept": "text/html"}
        refused += [client.get(path) for path in ("/api/v1/batches", "/api/v1/batches/b/events", "/metrics")]
        refused += [client.get(path, headers=html) for path in ("/", "/batches/b")]
    for response in refused:
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert WORDS[how] in response.text
        assert PASSWORD not in response.text
    wait_for(lambda: client.get("/readyz").status_code == 503, "the probe to see it")
    server.serve()
    wait_for(lambda: client.get("/readyz").status_code == 200, "readiness")
    assert callback(client, claim.run) == 200
    assert client.post("/api/v1/batches/b/pause").status_code == 200
    assert send(client, a_manifest(), "new").status_code == 201


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("LOADING Redis is loading the dataset in memory", "is loading its data"),
        ("BUSY Redis is busy running a script.", "is busy with a script"),
        ("MISCONF Redis is configured to save RDB snapshots, but…", "cannot save to its disk"),
        ("MOVED 3999 127.0.0.1:6381", "is a node of a cluster"),
        ("CLUSTERDOWN The cluster is down", "is a node of a cluster"),
        ("DENIED Redis is running in protected mode because…", "is in protected mode"),
        ("NOAUTH Authentication required.", "needs a password"),
        ("ERR max number of clients reached", "has as many connections as it allows"),
        ("ERR DB index is out of range", "has no database with this number"),
        ("ERR unknown command 'EVALSHA', with args beginning with: 'x'", "lacks the command EVALSHA"),
        ("NOSCRIPT No matching script.", "does not keep scripts"),
        ("ERR max daily request limit exceeded. Limit: 10000", "refuses a request: max daily request limit exceeded"),
        ("UNHEARDOF of a server to come", "refuses a request: UNHEARDOF of a server to come"),
        ("", "an error without a text"),
    ],
)
def test_every_refusal_is_reported_in_words(error: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_server_that_replies(error) as url:
        monkeypatch.setenv("REDIS_URL", url)
        result = CliRunner().invoke(main, ["list"])
        assert result.exit_code == 3
        assert words in result.stderr
        assert PASSWORD not in result.stderr
        client = create_app(Settings(redis_url=url, api_token=SecretStr(TOKEN))).test_client()
        response = client.get("/api/v1/batches", headers=BEARER)
        assert response.status_code == 503
        assert words in response.text


def test_a_node_of_a_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_cluster_node(tmp_path) as url:
        monkeypatch.setenv("REDIS_URL", url)
        for args in (["list"], ["pause"], ["status", "b"]):
            result = CliRunner().invoke(main, args)
            assert result.exit_code == 3
            assert "is a node of a cluster, which is not supported" in result.stderr
        client = create_app(Settings(redis_url=url, api_token=SecretStr(TOKEN))).test_client()
        assert client.get("/api/v1/batches", headers=BEARER).status_code == 503


def test_the_redis_of_a_running_up_that_refuses_is_not_called_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    with a_server_that_replies("WRONGPASS invalid username-password pair or user is disabled.") as url:
        write_environment(tmp_path, {"REDIS_URL": url})
        result = CliRunner().invoke(main, ["list", "--state", str(tmp_path)])
    assert result.exit_code == 3
    assert "refuses the user or the password" in result.stderr
    assert "no running" not in result.stderr


def test_a_wrong_type_is_damaged_data_and_no_refusal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(redis_url)
    client.set("text", "x")
    for call in (partial(client.hgetall, "text"), client.pipeline().hgetall("text").execute):
        with pytest.raises(WrongData, match="WRONGTYPE") as caught:
            call()
        assert not isinstance(caught.value, ServiceRefuses)
    client.rpush("dailies:batches", "x")
    monkeypatch.setenv("REDIS_URL", redis_url)
    result = CliRunner().invoke(main, ["list"])
    assert result.exit_code == 3
    assert "has data that the service cannot use: WRONGTYPE" in result.stderr


def test_a_server_that_forgets_scripts_is_refused_in_words(redis_url: str) -> None:
    client = connect(redis_url)
    scripts = Ledger.on(client).scripts

    def forgotten(*_args: object) -> str:
        client.script_flush()
        return "0" * 40

    client.script_load = forgotten
    for run in (scripts.run, scripts.run_durably):
        client.script_flush()
        with pytest.raises(ServiceRefuses, match="does not keep scripts"):
            run("check_schema", 2, 1, 1)


def write(client: Any) -> object:
    return client.set("key", "value")


def write_in_a_pipeline(client: Any) -> object:
    return client.pipeline().set("key", "value").execute()


@pytest.fixture
def threads() -> Iterator[Callable[[Callable[[], object]], list[object]]]:
    """`threads(call)`: start `call` in a thread; return the list to which its result is added."""
    started: list[threading.Thread] = []

    def start(call: Callable[[], object]) -> list[object]:
        results: list[object] = []
        started.append(threading.Thread(target=lambda: results.append(call())))
        started[-1].start()
        return results

    yield start
    for thread in started:
        thread.join(60)


@pytest.mark.parametrize("request_of", [write, write_in_a_pipeline])
@pytest.mark.parametrize("how", ["full", "replica", "replica without primary", "wrong password", "no writes permitted"])
def test_clients_of_workers_wait_until_redis_serves_again(
    server: RefusingRedis,
    threads: Callable[[Callable[[], object]], list[object]],
    wait_for: WaitFor,
    how: str,
    request_of: Callable[[Any], object],
) -> None:
    clients = [connect(server.url, decode=False, retry_timeout_s=60), RQRedis.from_url(server.url)]
    ledger = Ledger.connect(server.url, retry_timeout_s=60)
    a_batch(ledger)
    [claim] = claims(ledger, 1)
    for client in clients:
        client.ping()
    server.refuse(how)
    results = [threads(partial(request_of, client)) for client in clients]
    results.append(threads(lambda: ledger.runs.mark_posting([claim])))
    threading.Event().wait(0.3)
    assert not any(results)
    server.serve()
    wait_for(lambda: all(results), "the requests to be made", 60)


@pytest.mark.parametrize("retry_timeout_s", [0, 60])
def test_after_a_failover_the_name_is_looked_up_again(tmp_path: Path, retry_timeout_s: float) -> None:
    old_server, new_server = OwnRedis(tmp_path / "old"), OwnRedis(tmp_path / "new")
    try:
        old, new = RefusingRedis(old_server), RefusingRedis(new_server)
        name = Path(old.path).with_name("name.sock")
        name.symlink_to(old.path)
        client = connect(RefusingRedis.url_at(str(name)), retry_timeout_s=retry_timeout_s)
        pool = client.connection_pool
        for connection in [pool.get_connection() for _ in range(5)]:
            pool.release(connection)
        old.refuse("replica")
        name.unlink()
        name.symlink_to(new.path)
        if not retry_timeout_s:
            with pytest.raises(ServiceRefuses, match="is a read-only replica"):
                client.set("key", "0")
        for number in range(10):
            client.set("key", number)
        assert new.get("key") == b"9"
        assert old.get("key") is None
        name.unlink()
    finally:
        old_server.close()
        new_server.close()


@pytest.mark.parametrize("how", ["full", "no writes permitted"])
def test_a_refused_script_sets_no_record_aside(server: RefusingRedis, how: str) -> None:
    ledger = Ledger.connect(server.url)
    a_batch(ledger, items=3)
    running(ledger, 1, poll_after_s=0)
    claims(ledger, 1, lease_s=0.001)
    server.refuse(how)
    for change in (
        lambda: ledger.runs.claim_pending(5, lease_s=60, max_active=0),
        lambda: ledger.runs.claim_due(5, lease_s=60),
        lambda: ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold"),
        lambda: ledger.runs.record_callbacks([(RunId("b", "i0", 1), "", "")]),
    ):
        # A full server runs a script whose first write frees memory.
        with suppress(ServiceRefuses):
            change()
    server.serve()
    assert ledger.set_aside.number() == 0


@pytest.mark.parametrize("how", ["replica", "no waits permitted"])
def test_no_run_is_posted_without_the_confirmation_of_the_disk(server: RefusingRedis, how: str) -> None:
    ledger = Ledger.connect(server.url)
    a_batch(ledger)
    [claim] = claims(ledger, 1)
    server.refuse(how)
    with pytest.raises(ServiceRefuses):
        ledger.runs.mark_posting([claim])
