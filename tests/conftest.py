"""Real servers for the tests: Valkey, SeaweedFS, the sandbox and moto, each once per test process and on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis
from support.inbox import Inbox
from support.processes import OwnRedis, until
from support.quirky_s3 import QuirkyS3, a_quirky_s3
from support.schedule_folder import ScheduleFolder
from support.waiting import WaitFor

from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env, running_s3, running_valkey
from pipeline.observability import logging
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage

# A loaded machine is slow: no example has a time limit. Every run tries the same examples, so that tests are
# deterministic; `--hypothesis-profile=search` looks for new ones.
settings.register_profile("dailies", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("dailies")

# Before any test: `capture_logs` makes structlog count as configured, and events would go to stdout from then on.
logging.configure()


@pytest.fixture
def wait_for() -> WaitFor:
    """`wait_for(condition, "what", timeout_s=300)`: wait until the condition holds."""
    return until


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """A separate Redis that a test can kill or freeze."""
    redis = OwnRedis(tmp_path / "redis")
    yield redis
    redis.close()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis_url(valkey: str) -> str:
    """The URL of an empty Valkey."""
    client = Redis.from_url(valkey)
    client.flushall()
    client.close()
    return valkey


@pytest.fixture
def ledger(redis_url: str) -> Ledger:
    return Ledger.connect(redis_url)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Env]:
    with running_s3(tmp_path_factory.mktemp("s3"), "tests") as env:
        yield env


@pytest.fixture
def storage(s3_server: S3Env, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The S3 server. Its keys are in the environment, where boto3 reads them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return Storage(s3_server.endpoint)


@pytest.fixture(scope="module")
def proxy(s3_server: S3Env) -> Iterator[QuirkyS3]:
    """A proxy before the S3 server, which imitates other servers."""
    with a_quirky_s3(s3_server) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3_server: S3Env, tmp_path: Path) -> str:
    """A prefix for one test: `s3://bucket/…/`."""
    return f"s3://{s3_server.bucket}/{tmp_path.name}/"


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[Sandbox]:
    # The client must use a fresh nonce for each request, although the vendor's own samples repeat theirs.
    with running_sandbox(task_s=0.2, strict_nonce=True) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Sandbox:
    """A sandbox without tasks and faults: `sandbox.change(fail=1)` sets some. Tasks take 0.2 s."""
    sandbox_server.reset()
    return sandbox_server


@pytest.fixture
def inbox(redis_url: str, s3_server: S3Env, storage: Storage, bucket: str, tmp_path: Path) -> Inbox:
    """A watched prefix on the S3 server; outputs are beside it."""
    settings = Settings(
        redis_url=redis_url,
        s3_endpoint=s3_server.endpoint,
        output=f"{bucket}out/",
        triggers=tmp_path / "triggers.yaml",
        wiro_api_url="http://127.0.0.1:1",
    )
    return Inbox(settings, storage, bucket)


@pytest.fixture
def schedule_folder(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, tmp_path: Path) -> ScheduleFolder:
    """An empty schedules file with the settings of the test's servers."""
    settings = Settings(
        redis_url=redis_url,
        s3_endpoint=s3_server.endpoint,
        output=bucket,
        schedules=tmp_path / "schedules.yaml",
        lease_s=60,
    )
    return ScheduleFolder(tmp_path, settings, storage)


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The endpoint of SQS and SNS, which moto emulates."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
