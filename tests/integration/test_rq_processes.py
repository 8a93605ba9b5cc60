"""The worker and cron processes of the Procfile after SIGTERM, with Redis running or away."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.processes import ROOT, OwnRedis, bare_environment, s3_environment
from support.refusing_redis import RefusingRedis
from support.waiting import WaitFor

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.local.servers import S3Env
from pipeline.local.supervisor import commands_of


@contextmanager
def running(name: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the Procfile in a process group of its own."""
    program, *args = shlex.split(commands_of(ROOT / "Procfile", {})[name])
    command = [str(Path(sys.executable).with_name(program)), *args]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_registered(name: str, monitor: QueueMonitor) -> bool:
    if name == "cron":
        return monitor.schedulers() == 1
    return [worker.state for worker in monitor.workers()] == ["idle"] and monitor.schedules_delayed_jobs()


def group_is_gone(process: subprocess.Popen[bytes]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("is_redis_away", [False, True])
@pytest.mark.parametrize("name", ["worker", "cron"])
def test_several_stop_signals_end_a_process_and_its_children(
    redis: OwnRedis, s3_server: S3Env, tmp_path: Path, wait_for: WaitFor, name: str, is_redis_away: bool
) -> None:
    environment = {
        **bare_environment(),
        **s3_environment(s3_server),
        "REDIS_URL": redis.url,
        "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/{tmp_path.name}/",
        "PYTHONPATH": str(ROOT),
    }
    log = tmp_path / "process.log"
    with running(name, environment, log) as process:
        wait_for(lambda: is_registered(name, QueueMonitor(redis.url)), f"the {name} to start", 60)
        if is_redis_away:
            redis.kill()
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        wait_for(lambda: group_is_gone(process), "its children to exit")
    if not is_redis_away:
        assert process.returncode == 0
        assert not QueueMonitor(redis.url).workers()
        assert QueueMonitor(redis.url).schedulers() == 0


@pytest.mark.parametrize("how", ["full", "replica"])
@pytest.mark.parametrize("name", ["worker", "cron"])
def test_a_redis_that_refuses_ends_no_process_and_work_continues_afterwards(
    redis: OwnRedis, s3_server: S3Env, tmp_path: Path, wait_for: WaitFor, name: str, how: str
) -> None:
    server = RefusingRedis(redis)
    environment = {
        **bare_environment(),
        **s3_environment(s3_server),
        "REDIS_URL": server.url,
        "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/{tmp_path.name}/",
        "PIPELINE_SWEEP_EVERY_S": "1",
        "PYTHONPATH": str(ROOT),
    }
    log = tmp_path / "process.log"
    monitor = QueueMonitor(redis.url)
    with running(name, environment, log) as process:
        wait_for(lambda: is_registered(name, monitor), f"the {name} to start", 60)
        JobQueue(redis.url).enqueue_once(Job.SWEEP)
        server.refuse(how)
        wait_for(lambda: '"event": "redis_retried"' in log.read_text(), "a retry")
        server.serve()
        queue = JobQueue(redis.url)
        if name == "worker":
            queue.enqueue_once(Job.FINISH, "none")
            wait_for(lambda: monitor.figures().waiting == 0, "the worker to run jobs")
        else:
            enqueued = monitor.figures().waiting
            wait_for(lambda: monitor.figures().waiting > enqueued, "cron to enqueue jobs")
        assert process.poll() is None


@pytest.mark.parametrize("name", ["web", "worker", "cron"])
def test_a_redis_url_that_cannot_be_used_ends_a_process_in_words(tmp_path: Path, name: str) -> None:
    url = "redis://:planted@127.0.0.1:1/zero"
    environment = {**bare_environment(), "REDIS_URL": url, "PORT": "0", "PYTHONPATH": str(ROOT)}
    log = tmp_path / "process.log"
    with running(name, environment, log) as process:
        assert process.wait(60) == 2
    assert "REDIS_URL" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert "planted" not in log.read_text()


SIGNALS_AT_EVERY_LINE = """
import logging, os, signal, sys
from jobs.cron import scheduler
from pipeline.ledger.redis_client import RQRedis

class SendSignal(logging.Handler):
    def emit(self, record):
        if record.getMessage().endswith(sys.argv[2]):
            self.sending = True
        if getattr(self, "sending", False) and "received shutdown signal" not in record.getMessage():
            os.kill(os.getpid(), signal.SIGTERM)

cron = scheduler(RQRedis.from_url(sys.argv[1]), sweep_every_s=60)
cron.log.addHandler(SendSignal())
cron.log.setLevel(logging.DEBUG)
cron.start()
"""


@pytest.mark.parametrize("first_signal_at", ["registering birth...", "heartbeat sent successfully"])
def test_cron_leaves_the_registry_however_many_stop_signals_arrive(redis: OwnRedis, first_signal_at: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SIGNALS_AT_EVERY_LINE, redis.url, first_signal_at],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert QueueMonitor(redis.url).schedulers() == 0
