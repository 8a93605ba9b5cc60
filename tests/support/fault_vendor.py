"""Another stand-in for Wiro: an item's prompt says what goes wrong with it, so that one batch meets everything at once.

It is small, and shares nothing with the sandbox. A prompt names faults from the lists below, `fault` or `fault, fault`;
faults of Task/Detail and the CDN are over after the first try or two, unless they say otherwise.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PRICE = "0.09"
TASK_S = 0.3
SIZE = 188 * 32
HTML = b"<html><h1>Something in between</h1></html>"
NOT_TAKEN: dict[str, tuple[int, dict[str, str], bytes]] = {
    "429": (429, {}, b""),
    "429 with Retry-After": (429, {"Retry-After": "1"}, b""),
    "500": (500, {}, b'{"result": false, "errors": [{"code": 0, "message": "Internal error."}]}'),
    "503": (503, {}, HTML),
    "96": (200, {}, b'{"result": false, "errors": [{"code": 96, "message": "You can run up to 40 tasks."}]}'),
    "96 in words": (200, {}, b'{"result": false, "errors": ["You can run up to 40 tasks at the same time."]}'),
}
"""The first Run is answered so, and not taken."""
WRONG = b'{"result": false, "errors": ["prompt must be nicer"]}'
"""What a prompt with `wrong` in it is always told."""
LOST = ("run cut", "run hangs", "run 502", "run not JSON")
"""Runs that are taken, and whose answer nobody gets."""
BODIES: dict[str, bytes] = {
    "odd shape": b'[1, {"taskid": null}, "done"]',
    "1 MB": b"\x00\xff" * 500_000,
    "truncated JSON": b'{"taskid": "22',
}
"""Callbacks with another body than the task."""


@dataclass
class Task:
    """One task that was taken."""

    id: str
    token: str
    prompt: str
    attempt: int
    callback_url: str
    taken: float
    looks: int = 0
    fetched: int = 0
    answers: list[int] = field(default_factory=list)
    killed: bool = False
    kill_refused: bool = False

    @property
    def has_ended(self) -> bool:
        if "slow" in self.prompt:
            # It does not end by itself, and where it cannot be killed it ends when somebody tries.
            return self.kill_refused
        return time.monotonic() - self.taken > TASK_S

    @property
    def succeeds(self) -> bool:
        return not ("fails once" in self.prompt and self.attempt == 1) and "always fails" not in self.prompt

    @property
    def output(self) -> bytes:
        return hashlib.sha256(self.id.encode()).digest() * (SIZE // 32)


class Vendor:
    """What the vendor knows. `faulty` False: everything goes well from now on."""

    def __init__(self) -> None:
        self.faulty = True
        self.posts: Counter[str] = Counter()
        self.tasks: dict[str, Task] = {}
        self.strangers: list[str] = []
        self._changing = threading.Lock()
        self.closing = threading.Event()
        self.server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"vendor": self}), False)
        self.server.server_bind()
        self._serving: threading.Thread | None = None

    def open(self) -> None:
        """Begin to answer."""
        self.server.server_activate()
        self._serving = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._serving.start()

    def close(self) -> None:
        """Answer no more."""
        self.closing.set()
        if self._serving:
            self.server.shutdown()
            self._serving.join(10)
        self.server.server_close()

    @property
    def place(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes the service use it."""
        return {
            "WIRO_API_KEY": "k" * 20,
            "WIRO_API_URL": f"http://{self.place}/v1",
            "PIPELINE_FETCH_HOSTS": self.place,
        }

    @property
    def billed(self) -> Counter[str]:
        """How many runs of each prompt were billed."""
        ended = [task for task in self.tasks.values() if task.has_ended and not task.killed]
        return Counter(task.prompt for task in ended if task.succeeds)

    def has(self, prompt: str, fault: str) -> bool:
        return self.faulty and fault in prompt.split(", ")

    def post(self, prompt: str) -> int:
        """A Run was posted: how many times now."""
        with self._changing:
            self.posts[prompt] += 1
            return self.posts[prompt]

    def take(self, prompt: str, callback_url: str) -> Task:
        """Take a run."""
        with self._changing:
            number = str(1000 + len(self.tasks))
            attempt = 1 + sum(task.prompt == prompt for task in self.tasks.values())
            task = Task(number, f"token{number}", prompt, attempt, callback_url, time.monotonic())
            self.tasks[number] = task
        if callback_url and "no callback" not in prompt:
            threading.Thread(target=self._call, args=(task,), daemon=True).start()
        return task

    def find(self, asked: dict[str, str]) -> Task | None:
        """The task that is asked after."""
        for task in self.tasks.values():
            if task.token == asked.get("tasktoken") or task.id == asked.get("taskid"):
                return task
        return None

    def ring(self, task: Task, body: bytes) -> None:
        """Call back once."""
        request = urllib.request.Request(task.callback_url, data=body, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                task.answers.append(answer.status)
        except urllib.error.HTTPError as error:
            task.answers.append(error.code)
        except OSError:
            task.answers.append(0)

    def _call(self, task: Task) -> None:
        body = next((body for name, body in BODIES.items() if name in task.prompt), _text(self.document(task)))
        if "early" in task.prompt:
            self.ring(task, body)
        if self.closing.wait(TASK_S + 0.1):
            return
        for _ in range(5 if "five times" in task.prompt else 1):
            self.ring(task, body)
        if "older attempt" in task.prompt and task.attempt > 1:
            for older in [older for older in self.tasks.values() if older.prompt == task.prompt]:
                self.ring(older, _text(self.document(older)))

    def document(self, task: Task) -> dict[str, Any]:
        """The task as Task/Detail tells it."""
        status = "task_cancel" if task.killed else "task_postprocess_end" if task.has_ended else "task_resting"
        good = task.succeeds and status == "task_postprocess_end"
        url = f"http://{self.place}/cdn/{task.id}/{task.looks}.mp4"
        if self.has(task.prompt, "another host"):
            url = f"http://169.254.169.254/{task.id}.mp4"
        output = {"name": "0.mp4", "contenttype": "video/mp4", "size": str(SIZE), "url": url}
        return {
            "id": task.id,
            "socketaccesstoken": task.token,
            "status": status,
            "pexit": None if not task.has_ended else "0" if task.succeeds else "1",
            "debugerror": None if task.succeeds else "ValueError: no face",
            "totalcost": PRICE if good else "0",
            "elapsedseconds": "6.0000",
            "callbackurl": task.callback_url,
            "outputs": [output] if good else None,
        }


class _Server(ThreadingHTTPServer):
    """Bound to its port at once; until it listens, connections are refused."""

    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    vendor: Vendor
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/v1/Run/"):
            self._run(_field(body, "prompt"), _field(body, "callbackUrl"))
        elif self.path in ("/v1/Task/Detail", "/v1/Task/Kill", "/v1/Task/Cancel"):
            self._task(self.vendor.find(json.loads(body)))
        else:
            self._answer(404)

    def _run(self, prompt: str, callback_url: str) -> None:
        vendor = self.vendor
        first = vendor.post(prompt) == 1
        if refused := next((NOT_TAKEN[name] for name in NOT_TAKEN if first and vendor.has(prompt, name)), None):
            self._answer(*refused)
            return
        if vendor.has(prompt, "wrong"):
            self._answer(200, {}, WRONG)
            return
        task = vendor.take(prompt, callback_url)
        if "early" in prompt:
            vendor.closing.wait(TASK_S + 1)
        if vendor.has(prompt, "run hangs"):
            self._hang()
        elif vendor.has(prompt, "run cut"):
            self.close_connection = True
        elif vendor.has(prompt, "run 502"):
            self._answer(502, {}, HTML)
        elif vendor.has(prompt, "run not JSON"):
            self._answer(200, {}, HTML)
        else:
            self._say({"errors": [], "taskid": task.id, "socketaccesstoken": task.token, "result": True})

    def _task(self, task: Task | None) -> None:
        if task is None:
            self.vendor.strangers.append(self.path)
            self._say({"result": False, "errors": [{"code": 1, "message": "There is no task yet."}]})
            return
        task.looks += 1
        if self.path != "/v1/Task/Detail":
            if "cannot be killed" in task.prompt:
                task.kill_refused = True
                self._say({"result": False, "errors": [{"code": 1, "message": "Task is not cancellable."}]})
                return
            task.killed = task.killed or not task.has_ended
            self._say({"result": True, "errors": [], "tasklist": [self.vendor.document(task)]})
            return
        has = self.vendor.has
        few = task.looks <= 2
        if has(task.prompt, "detail gone") or (few and has(task.prompt, "detail gone for a moment")):
            self._say({"result": False, "errors": [{"code": 1, "message": "There is no task yet."}]})
        elif task.looks == 1 and has(task.prompt, "detail hangs"):
            self._hang()
        elif few and has(task.prompt, "detail not JSON"):
            self._answer(200, {}, HTML)
        elif few and has(task.prompt, "detail in words"):
            self._say({"result": False, "errors": ["Something went wrong, try again."]})
        elif few and has(task.prompt, "detail 429"):
            self._answer(429)
        elif few and has(task.prompt, "detail 500"):
            self._answer(500, {}, HTML)
        else:
            self._say({"result": True, "errors": [], "tasklist": [self.vendor.document(task)]})

    def do_GET(self) -> None:
        if not self.path.startswith("/cdn/"):
            self._answer(200, {"Content-Type": "image/jpeg"}, b"\xff\xd8\xff picture")
            return
        _, _, number, address = self.path.split("/")
        task = self.vendor.tasks[number]
        task.fetched += 1
        first = task.fetched == 1
        has = self.vendor.has
        data, kind = task.output, {"Content-Type": "video/mp4"}
        if has(task.prompt, "cdn gone") or (first and has(task.prompt, "cdn 404")):
            self._answer(404)
        elif first and has(task.prompt, "cdn 503"):
            self._answer(503)
        elif has(task.prompt, "cdn expired") and address == "1.mp4":
            # The address of the first look never works, however often it is tried.
            self._answer(403)
        elif first and has(task.prompt, "cdn longer"):
            self.close_connection = True
            self._begin(200, kind)
            self.wfile.write(data + b"more")
        elif first and has(task.prompt, "cdn truncated"):
            self.close_connection = True
            self._begin(200, {**kind, "Content-Length": str(SIZE)})
            self.wfile.write(data[: SIZE // 2])
        elif first and has(task.prompt, "cdn hangs"):
            self._begin(200, {**kind, "Content-Length": str(SIZE)})
            self.wfile.write(data[: SIZE // 2])
            self._hang()
        elif first and has(task.prompt, "cdn trickle"):
            self._begin(200, {**kind, "Content-Length": str(SIZE)})
            self._trickle(data)
        else:
            self._answer(200, kind, data)

    def _trickle(self, data: bytes) -> None:
        self.close_connection = True
        for at in range(0, len(data), 20):
            try:
                self.wfile.write(data[at : at + 20])
            except OSError:
                return
            if self.vendor.closing.wait(0.5):
                return

    def _hang(self) -> None:
        self.close_connection = True
        self.vendor.closing.wait(120)

    def _say(self, document: object) -> None:
        self._answer(200, {"Content-Type": "application/json"}, _text(document))

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self._begin(status, {**(headers or {}), "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _text(document: object) -> bytes:
    return json.dumps(document).encode()


def _field(form: bytes, name: str) -> str:
    found = re.search(rb'name="%s"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--' % name.encode(), form, re.DOTALL)
    return found[1].decode() if found else ""


@contextmanager
def a_vendor() -> Iterator[Vendor]:
    """A vendor of this process, until the block ends. It refuses connections until it is opened."""
    vendor = Vendor()
    try:
        yield vendor
    finally:
        vendor.close()
