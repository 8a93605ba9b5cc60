"""A running service that uses a configured Redis, S3 and vendor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import QUICK, Up, an_up, s3_environment

from pipeline.local.servers import S3Env, running_valkey
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.storage.s3 import Storage


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with running_sandbox(log=tmp_path / "sandbox.log", task_s=0.3, strict_nonce=True) as sandbox:
        yield sandbox


@pytest.fixture
def environment(tmp_path: Path, sandbox: Sandbox, s3_server: S3Env, storage: Storage) -> Iterator[dict[str, str]]:
    """The settings of a Redis, an S3 and a vendor for `up`."""
    (tmp_path / "redis").mkdir()
    with running_valkey(tmp_path / "redis") as redis_url:
        yield {
            **QUICK,
            **sandbox.environment,
            **s3_environment(s3_server),
            "REDIS_URL": redis_url,
            "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/{tmp_path.name}/",
            "PIPELINE_SECRET": "a secret for callbacks",
        }


@pytest.fixture
def up(tmp_path: Path, environment: dict[str, str]) -> Iterator[Up]:
    with an_up(tmp_path / "state", environment) as up:
        yield up
