"""Hostile input by HTTP and by file is refused soon, with a clear message, in bounded memory."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.access import BEARER, TOKEN
from support.processes import PIPELINE, ROOT, answers, bare_environment, s3_environment, until

from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import HOST, S3Env, free_ports

HEAD = "version: 1\nname: x\n"
ONE = "items: [{prompt: p}]\n"
SECRET = "a secret for callbacks"
MAX_GROWTH_MB = 100
MAX_GROWTH_OF_VALUES_MB = 250
"""A body is parsed before it is validated: growth for one of the maximum size."""
RETRY_TIMEOUT_S = 20
"""A response that takes a second on an idle machine may take some on a busy one."""


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join([*lines, HEAD + ONE])


MANIFESTS = {
    "50 MB": (HEAD + ONE).encode() + b"#" * 50_000_000 + b"\nodd: 1\n",
    "alias bomb": bomb().encode(),
    "100 deep": (HEAD + "params: " + "{a: " * 100 + "1" + "}" * 100 + "\n" + ONE).encode(),
    "a million deep": b"[" * 1_000_000,
    "a million deep, JSON": b'{"a":' * 1_000_000,
    "python object": b"!!python/object/apply:os.system ['touch /tmp/dailies-was-here']",
    "python name": (HEAD + "items: [{prompt: !!python/name:os.system }]\n").encode(),
    "NaN": (HEAD + "params: {seed: .nan}\n" + ONE).encode(),
    "NaN, JSON": b'{"version": 1, "name": "x", "params": {"seed": NaN}, "items": [{"prompt": "p"}]}',
    "lone surrogate": b'{"version": 1, "name": "x", "items": [{"prompt": "\\ud800"}]}',
    "lone surrogate, bytes": (HEAD + "items: [{prompt: ").encode() + b"\xed\xa0\x80}]\n",
    "10 MB prompt": json.dumps({"version": 1, "name": "x", "items": [{"prompt": "p" * 10_000_000}]}).encode(),
    "7 MB prompt": json.dumps({"version": 1, "name": "x", "items": [{"prompt": "p" * 7_000_000}]}).encode(),
    "zeros": bytes(1_000_000),
}
LARGE = {
    "7 MB of keys": (HEAD + "".join(f"k{n}: 1\n" for n in range(600_000))).encode(),
    "7 MB of entries": (HEAD + "items: [" + "a, " * 2_300_000 + "]\n").encode(),
    "7 MB of JSON entries": b'{"version": 1, "items": [' + b"0," * 3_500_000 + b"0]}",
    "7 MB of items": json.dumps({"version": 1, "name": "x", "items": [{"odd": 1}] * 500_000}).encode(),
}


@dataclass(frozen=True)
class Web:
    """A web process for these tests."""

    port: int
    process: subprocess.Popen[bytes]

    def post(
        self, path: str, body: bytes | Iterable[bytes], headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of the response. A body that is not bytes is sent in chunks."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=RETRY_TIMEOUT_S)
        with closing(connection):
            with suppress(BrokenPipeError, ConnectionResetError):
                # The server has responded and does not read the rest.
                connection.request(
                    "POST", path, body, {**BEARER, **(headers or {})}, encode_chunked=not isinstance(body, bytes)
                )
            response = connection.getresponse()
            return response.status, response.read()

    def peak_mb(self) -> float:
        """Return the highest resident memory of the process so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, valkey: str, s3_server: S3Env) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web")
    (port,) = free_ports(folder, 1)
    environment = {
        **bare_environment(),
        **s3_environment(s3_server),
        "REDIS_URL": valkey,
        "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/hostile/",
        "PIPELINE_SECRET": SECRET,
        "PIPELINE_API_TOKEN": TOKEN,
        "PORT": str(port),
    }
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.web"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        until(lambda: answers(f"http://{HOST}:{port}/readyz"), "the web process")
        yield Web(port, process)
    finally:
        process.terminate()
        process.wait(60)


def test_hostile_manifests_by_http_are_refused_soon_in_little_memory(web: Web, ledger: Ledger) -> None:
    before = web.peak_mb()
    for name, manifest in MANIFESTS.items():
        _refused(web, name, manifest)
    assert web.peak_mb() - before < MAX_GROWTH_MB
    # The maximum size of a body.
    for name, manifest in LARGE.items():
        _refused(web, name, manifest)
    assert web.peak_mb() - before < MAX_GROWTH_OF_VALUES_MB
    assert ledger.batches.open_ids() == []
    assert not Path("/tmp/dailies-was-here").exists()


def _refused(web: Web, name: str, manifest: bytes) -> None:
    began = time.monotonic()
    status, text = web.post("/api/v1/batches", manifest)
    print(f"{name}: {status} after {time.monotonic() - began:.2f} s, peak {web.peak_mb():.0f} MB")
    assert status in (413, 422), name
    assert json.loads(text)["status"] == status, name
    assert len(text) < 200_000, name


def test_endless_bodies_and_headers_are_refused_soon_in_little_memory(web: Web) -> None:
    token = CallbackSigner(SECRET).url("", RunId("none", "i0", 1))
    before = web.peak_mb()
    large = b"x" * 50_000_000
    refused = {
        "an image": ("/api/v1/inputs", large, {}),
        "events": ("/events/s3", large, {}),
        "an estimate": ("/api/v1/estimate", large, {}),
        "a retry": ("/api/v1/batches/b/retry", large, {"Content-Type": "application/json"}),
        "a page": ("/login", large, {"Content-Type": "application/x-www-form-urlencoded"}),
        "a long id": ("/api/v1/batches", (HEAD + ONE).encode(), {"Idempotency-Key": "k" * 5000}),
        "a long header": ("/api/v1/batches", b"", {"X-Long": "x" * 60_000}),
        "many headers": ("/api/v1/batches", b"", {f"X-{n}": "x" for n in range(90)}),
        "a long address": ("/api/v1/batches?" + "x" * 60_000, b"", {}),
    }
    for name, (path, body, headers) in refused.items():
        began = time.monotonic()
        status, _ = web.post(path, body, headers)
        print(f"{name}: {status} after {time.monotonic() - began:.2f} s, peak {web.peak_mb() - before:+.0f} MB")
        assert 400 <= status < 500, name
    chunks = [b"#" * 100_000] * 500
    assert web.post("/api/v1/batches", iter(chunks))[0] == 413
    # A callback with a valid token is recorded, whatever its body.
    assert web.post(token, large)[0] == 200
    assert web.post(token, iter(chunks))[0] == 200
    assert web.peak_mb() - before < MAX_GROWTH_MB


@pytest.mark.parametrize("name", ["alias bomb", "100 deep", "python object", "NaN", "lone surrogate", "10 MB prompt"])
def test_hostile_manifests_on_the_command_line_are_errors_with_their_positions(tmp_path: Path, name: str) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_bytes(MANIFESTS[name])
    done = subprocess.run(
        [*PIPELINE, "validate", str(file)], cwd=ROOT, env=bare_environment(), capture_output=True, text=True,
        timeout=RETRY_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout.startswith(f"{file}:") or done.stderr.startswith(f"{file}:")
    assert len(done.stdout + done.stderr) < 2000
