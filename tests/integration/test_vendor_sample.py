"""The shell sample of the vendor's model page runs against the sandbox as it stands.

It exports one nonce and one signature, as `openssl dgst` prints it, and uses them for all its requests. The callback
URL is the placeholder of the page. The shell sends the requests and so does Python, for machines without curl.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from pipeline.sandbox.process_handle import Sandbox, running_sandbox

PORTRAIT = Path(__file__).parents[2] / "config" / "samples" / "portrait.jpg"
MODEL = "minimax/image-to-video-hailuo-01-subject"
CALLBACK = "Optional: Webhook URL for task completion notifications"
NONCE = "1764144000"
BOUNDARY = "------------------------d74496d66958873e"

SHELL_SAMPLE = r"""
export YOUR_API_KEY="%(key)s";
export YOUR_API_SECRET="%(secret)s";

export NONCE=$(date +%%s);

export SIGNATURE="$(echo -n "${YOUR_API_SECRET}${NONCE}" | openssl dgst -sha256 -hmac "${YOUR_API_KEY}")";

run() {
curl -s -X POST "%(url)s/Run/minimax/image-to-video-hailuo-01-subject"  \
-H "x-api-key: ${YOUR_API_KEY}" \
-H "x-nonce: ${NONCE}" \
-H "x-signature: ${SIGNATURE}" \
-F "inputImageFirst=@%(image)s" \
-F "inputImageFirstUrl=" \
-F "prompt=She smiles." \
-F "callbackUrl=Optional: Webhook URL for task completion notifications";
}

call() {
curl -s -X POST "%(url)s/$1"  \
-H "Content-Type: application/json" \
-H "x-api-key: ${YOUR_API_KEY}" \
-H "x-nonce: ${NONCE}" \
-H "x-signature: ${SIGNATURE}" \
-d "{
  \"$2\": \"$3\"
}";
}

field() { sed -E "s/.*\"$1\": \"([^\"]+)\".*/\1/"; }

RUN="$(run)"; echo "$RUN"
call Task/Detail tasktoken "$(echo "$RUN" | field socketaccesstoken)"; echo
call Task/Kill taskid "$(echo "$RUN" | field taskid)"; echo
curl -s -X PATCH -H "x-api-key: %(key)s" "%(options)s" -d '{"queue_s": 60}' > /dev/null
call Task/Cancel taskid "$(run | field taskid)"; echo
"""


@pytest.fixture
def vendor() -> Iterator[Sandbox]:
    """A sandbox with its default options, but slow."""
    with running_sandbox(task_s=60) as sandbox:
        yield sandbox


class PythonSample:
    """Sends the bytes that curl sends for the shell sample."""

    def __init__(self, vendor: Sandbox) -> None:
        digest = hmac.new(vendor.key.encode(), (vendor.secret + NONCE).encode(), hashlib.sha256).hexdigest()
        self._vendor = vendor
        self._headers = {"x-api-key": vendor.key, "x-nonce": NONCE, "x-signature": f"SHA2-256(stdin)= {digest}"}

    def run(self) -> dict[str, Any]:
        head = f'name="inputImageFirst"; filename="{PORTRAIT.name}"\r\nContent-Type: image/jpeg'
        parts = [(head, PORTRAIT.read_bytes()), ('name="inputImageFirstUrl"', b"")]
        parts += [('name="prompt"', b"She smiles."), ('name="callbackUrl"', CALLBACK.encode())]
        lines = [
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body for head, body in parts
        ]
        body = b"\r\n".join([*lines, f"--{BOUNDARY}--\r\n".encode()])
        return self._post(f"Run/{MODEL}", body, f"multipart/form-data; boundary={BOUNDARY}")

    def call(self, path: str, name: str, value: str) -> dict[str, Any]:
        return self._post(path, f'{{\n  "{name}": "{value}"\n}}'.encode(), "application/json")

    def _post(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        headers = {**self._headers, "Content-Type": content_type}
        response = urllib3.request("POST", f"{self._vendor.url}/{path}", body=body, headers=headers, retries=False)
        document: dict[str, Any] = response.json()
        return document


def check(run: dict[str, Any], detail: dict[str, Any], kill: dict[str, Any], cancel: dict[str, Any]) -> None:
    assert (run["result"], run["errors"]) == (True, [])
    (task,) = detail["tasklist"]
    assert (detail["result"], task["id"], task["parameters"]["prompt"]) == (True, run["taskid"], "She smiles.")
    assert task["parameters"]["inputImageFirst"].endswith(f"/{PORTRAIT.name}")
    for stopped in (kill, cancel):
        assert (stopped["result"], stopped["tasklist"][0]["status"]) == (True, "task_cancel")


def test_the_shell_sample_of_the_vendor_runs(vendor: Sandbox) -> None:
    missing = [program for program in ("bash", "curl", "openssl") if not shutil.which(program)]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed; the other test of this file sends the same bytes")
    values = {"key": vendor.key, "secret": vendor.secret, "url": vendor.url, "image": str(PORTRAIT)}
    values["options"] = f"http://{vendor.address}/_sandbox/options"
    shell = subprocess.run(["bash", "-c", SHELL_SAMPLE % values], capture_output=True, text=True, timeout=60)
    run, detail, kill, cancel = map(json.loads, shell.stdout.splitlines())
    check(run, detail, kill, cancel)


def test_the_requests_of_the_sample_are_accepted_from_python(vendor: Sandbox) -> None:
    sample = PythonSample(vendor)
    run = sample.run()
    detail = sample.call("Task/Detail", "tasktoken", run["socketaccesstoken"])
    kill = sample.call("Task/Kill", "taskid", run["taskid"])
    vendor.change(queue_s=60)
    check(run, detail, kill, sample.call("Task/Cancel", "taskid", sample.run()["taskid"]))
