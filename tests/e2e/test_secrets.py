"""Known secrets are searched for in every log, page, file and key after a complete run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from redis import Redis
from support.processes import QUICK, Up, a_manifest, an_up, s3_environment, until

from pipeline.local import state_file
from pipeline.local.servers import S3Env, running_valkey
from pipeline.sandbox.process_handle import running_sandbox
from pipeline.storage.s3 import Storage

PLANTED = {
    "WIRO_API_KEY": "planted-wiro-key-1f6b",
    "WIRO_API_SECRET": "planted-wiro-secret-92ac",
    "PIPELINE_SECRET": "planted-signing-secret-77d0",
    "PIPELINE_API_TOKEN": "planted-api-token-c3e4",
}
OWNER_ONLY = {"env.json", "secret", "ports.json"}
"""Files of the state that only their owner can read."""


def test_no_secret_is_in_a_log_a_command_a_page_redis_or_s3(
    tmp_path: Path, s3_server: S3Env, storage: Storage, bucket: str
) -> None:
    (tmp_path / "redis").mkdir()
    with (
        running_valkey(tmp_path / "redis") as redis_url,
        running_sandbox(
            log=tmp_path / "sandbox.log",
            key=PLANTED["WIRO_API_KEY"],
            secret=PLANTED["WIRO_API_SECRET"],
            task_s=0.2,
            output_bytes=5000,
            fail=0.3,
            server_error=0.1,
        ) as sandbox,
    ):
        redis = Redis.from_url(redis_url)
        redis.config_set("requirepass", "planted-redis-password-5a5a")
        environment = {
            **QUICK,
            **sandbox.environment,
            **s3_environment(s3_server),
            **PLANTED,
            "REDIS_URL": redis_url.partition("password=")[0] + "password=planted-redis-password-5a5a",
            "PIPELINE_OUTPUT": bucket,
            "PIPELINE_PUBLIC_URL": Up(tmp_path / "state", {}).url,
        }
        with an_up(tmp_path / "state", environment) as up:
            image = f"http://{sandbox.address}/samples/portrait.jpg"
            rows = [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(12)]
            batch = up.run("submit", a_manifest(tmp_path, rows)).splitlines()[-1]
            until(lambda: up.status(batch)["finished"], "the batch to end")
            texts = {name: up.run(*name.split()) for name in ("status --json", f"items {batch}", "doctor", "list")}
            texts["status"] = up.run("status", batch)
            texts["processes"] = "\n".join(commands(up))
            texts["a wrong token"] = page(up, "/api/v1/batches", "wrong")
            texts["the dashboard"] = page(up, "/", PLANTED["PIPELINE_API_TOKEN"])
            texts["the metrics"] = page(up, "/metrics", PLANTED["PIPELINE_API_TOKEN"])
            texts.update(whole_redis(Redis.from_url(environment["REDIS_URL"])))
            texts.update((info.uri, (storage.get(info.uri) or b"").decode("latin-1")) for info in storage.list(bucket))
        texts.update(files(tmp_path / "state"))
    assert len(texts) > 60, "too few texts to search"
    secrets = [*PLANTED.values(), "planted-redis-password-5a5a", s3_server.secret_key]
    leaks = [(place, secret) for place, text in texts.items() for secret in secrets if secret in text]
    assert leaks == []


def commands(up: Up) -> Iterator[str]:
    for pid in up.pids(""):
        yield Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def page(up: Up, path: str, token: str) -> str:
    request = urllib.request.Request(up.url + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text: str = response.read().decode()
            return text
    except urllib.error.HTTPError as error:
        return error.read().decode()


def whole_redis(redis: Redis) -> Iterator[tuple[str, str]]:
    """Yield every key with its value as text."""
    readers: dict[bytes, Callable[[Any], Any]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }
    for key in redis.scan_iter():
        kind = redis.type(key)
        if kind in readers:
            yield f"redis {key!r}", repr(readers[kind](key))


def files(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("*"):
        if file.is_file() and file.name not in OWNER_ONLY:
            yield str(file), file.read_bytes().decode("latin-1")


def test_files_with_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    logs = tmp_path / "state" / "logs"
    logs.mkdir(parents=True)
    (logs / "web.log").write_text("written by an older release, which closed nothing\n")
    for path, mode in ((logs.parent, 0o755), (logs, 0o777), (logs / "web.log", 0o666)):
        path.chmod(mode)
    with an_up(tmp_path / "state", QUICK) as up:
        paths = [up.state, *up.state.rglob("*")]
        assert {"env.json", "secret", "password", "key.pem", "weed.log", "data", "web.log"} <= {p.name for p in paths}
        assert [str(path) for path in paths if path.lstat().st_mode & 0o077] == []
        assert json.loads((up.state / "env.json").read_text())["PIPELINE_SECRET"]


def test_no_secret_of_the_service_is_given_to_an_embedded_server(tmp_path: Path) -> None:
    planted = {name: PLANTED[name] for name in ("PIPELINE_SECRET", "PIPELINE_API_TOKEN")}
    with an_up(tmp_path / "state", {**QUICK, **planted, "SOME_OTHER_TOKEN": "planted-other-token"}) as up:
        settings = state_file.environment(up.state)
        password = settings["REDIS_URL"].partition("password=")[2]
        secrets = [*planted.values(), "planted-other-token", password, settings["AWS_SECRET_ACCESS_KEY"]]
        for words, own in (("valkey-server", ""), ("weed", "AWS_SECRET_ACCESS_KEY"), ("sandbox --port", "")):
            (pid,) = up.pids(words)
            environment = Path(f"/proc/{pid}/environ").read_text()
            assert [secret for secret in secrets if secret in environment and secret != settings.get(own)] == []
        shown = "\n".join(commands(up)) + (up.state / "up.log").read_text() + up.run("doctor", code=0)
        assert [secret for secret in [*secrets, settings["WIRO_API_SECRET"]] if secret in shown] == []
