"""An HTTP server with the answers of the stub vendor, of which some are malformed."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipeline.wiro.errors import ResponseLost, TaskNotFound
from pipeline.wiro.tasks import Task
from support.job_loop import Vendor


@dataclass(frozen=True)
class Reply:
    """A response. `length`: the Content-Length, if it is not that of the body."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


@dataclass
class VendorServer:
    """`faults`: the replies to the next requests of an endpoint, such as "Run". `url`: its address."""

    vendor: Vendor
    url: str = ""
    faults: dict[str, deque[Reply]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def reply(self, path: str, body: bytes) -> Reply:
        endpoint = path.split("/v1/")[1]
        endpoint = "Run" if endpoint.startswith("Run/") else endpoint
        self.calls.append(endpoint)
        # Also a request whose response is malformed is executed.
        document = self._document(endpoint, body)
        faults = self.faults.get(endpoint)
        return faults.popleft() if faults else Reply(json.dumps(document).encode())

    def _document(self, endpoint: str, body: bytes) -> dict[str, Any]:
        fields = json.loads(body) if body.startswith(b"{") else {}
        match endpoint:
            case "Run":
                try:
                    run = self.vendor.run("", {}, callback_url=fields.get("callbackUrl") or _callback_url(body))
                except ResponseLost:
                    return {"result": True}
                return {"result": True, "taskid": run.task_id, "socketaccesstoken": run.token}
            case "Task/Detail":
                try:
                    task = self.vendor.task(token=fields.get("tasktoken", ""), task_id=fields.get("taskid", ""))
                except TaskNotFound:
                    return {"result": True, "tasklist": []}
                return {"result": True, "tasklist": [row_of(task)]}
            case "Task/List":
                tasks = self.vendor.list_tasks(start=int(fields["start"]), limit=int(fields["limit"]))
                return {"result": True, "tasklist": [row_of(task) for task in tasks]}
            case "Tool/Detail":
                return {"result": True, "tool": [self.vendor.tool_detail("")]}
            case "File/FolderCreate":
                return {"result": True, "list": [{"id": "folder"}]}
            case "File/Upload":
                return {"result": True, "list": [{"id": "1", "url": "https://cdn1.wiro.ai/inputs/1.jpg"}]}
            case _:
                return {"result": True}


def _callback_url(body: bytes) -> str:
    """Return the callback URL of a form."""
    return body.partition(b'name="callbackUrl"\r\n\r\n')[2].partition(b"\r\n")[0].decode()


def row_of(task: Task) -> dict[str, Any]:
    """Return a task as the vendor describes it."""
    return {
        "id": task.id,
        "socketaccesstoken": task.token,
        "status": task.status,
        "pexit": task.pexit,
        "totalcost": str(task.cost_usd),
        "elapsedseconds": str(task.elapsed_s),
        "callbackurl": task.callback_url,
        "outputs": [
            {"name": one.name, "contenttype": one.content_type, "size": str(one.size), "url": one.url}
            for one in task.outputs
        ],
    }


@contextmanager
def a_vendor_server(vendor: Vendor) -> Iterator[VendorServer]:
    """Run the server until the end of the block."""
    server = VendorServer(vendor)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply = server.reply(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(10)
