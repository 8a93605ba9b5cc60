"""Callbacks: rate, latency at a third of it, and a burst; compared with an empty Flask route on the same server."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

import aiohttp
from support.processes import ROOT, bare_environment, until

from benchmarks.environment import Servers, running_servers
from benchmarks.throughput import a_manifest
from pipeline.batches.service import Service
from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.local.servers import HOST, free_ports

_HERE = "benchmarks.receiver"
_BURST = 5000
_MAX_CONCURRENT = 32
_MAX_S = 60
_BODY = json.dumps({"id": "1", "status": "task_postprocess_end", "tasktoken": "", "outputs": []}).encode()


def active_runs(service: Service, count: int) -> list[RunId]:
    """Return `count` runs that the vendor accepted. No worker is running."""
    service.submission.submit(
        a_manifest("calls", "https://example.com/1.jpg", count), "calls", trigger="bench", folder=None
    )
    ledger = service.ledger
    ledger.batches.start("calls", price_usd=Decimal(0), max_failures=count)
    runs: list[RunId] = []
    while claims := ledger.runs.claim_pending(256, lease_s=600, max_active=0).runs:
        for claim in ledger.runs.mark_posting(claims):
            ledger.runs.accept(claim.run, claim.lease, f"t{len(runs)}", f"s{len(runs)}", 86_400)
            runs.append(claim.run)
    return runs


def due_runs(service: Service) -> int:
    """Return the number of runs that are due."""
    count = 0
    while dues := service.ledger.runs.claim_due(256, lease_s=600).runs:
        count += len(dues)
    return count


@contextmanager
def web_server(around: Servers, module: str) -> Iterator[str]:
    """Run `python -m module`, a program that calls `pipeline.web.server.serve`. Yield its address."""
    (port,) = free_ports(around.folder, 1)
    environment = {**bare_environment(), **around.environment, "PYTHONPATH": str(ROOT), "PORT": str(port)}
    with (around.folder / "web.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, env=environment, stdout=log, stderr=log)
    url = f"http://{HOST}:{port}"
    try:
        until(lambda: json.loads(load(around, url, ["none"], "fast", 1))["answers"], f"python -m {module}")
        yield url
    finally:
        process.terminate()
        process.wait(40)


def load(around: Servers, url: str, paths: list[str], how: str, amount: float, rate: float = 0) -> str:
    """Send callbacks from another process. Return its output."""
    file = around.folder / "paths"
    file.write_text("\n".join(f"{url}/callbacks/wiro/{path}" for path in paths))
    return around.program("-m", _HERE, how, str(file), str(amount), str(rate)).communicate(timeout=300)[0]


class Caller:
    """Sends callbacks and keeps statuses and durations."""

    def __init__(self, session: aiohttp.ClientSession, urls: list[str]) -> None:
        self._session = session
        self._urls = urls
        self.calls = 0
        self.statuses: dict[str, int] = {}
        self.seconds: list[float] = []

    async def call(self) -> None:
        """Send one callback."""
        url = self._urls[self.calls % len(self._urls)]
        self.calls += 1
        began = time.perf_counter()
        try:
            async with self._session.post(url, data=_BODY) as response:
                await response.read()
                status = str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            status = type(error).__name__
        self.seconds.append(time.perf_counter() - began)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    async def fast(self, seconds: float) -> None:
        """Send as fast as possible over a few connections, for `seconds`."""
        ends = time.perf_counter() + seconds

        async def one() -> None:
            while time.perf_counter() < ends:
                await self.call()

        await asyncio.gather(*(one() for _ in range(_MAX_CONCURRENT)))

    async def steady(self, seconds: float, rate: float) -> None:
        """Send `rate` a second, without waiting for responses."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
                group.create_task(self.call())


def burst(urls: list[str]) -> None:
    """Send one callback to each of `urls`, each on a connection of its own, as fast as connections can be opened."""
    began = time.perf_counter()
    answers: Counter[str] = Counter()
    with selectors.DefaultSelector() as calls:
        for url in urls:
            call = _sent(url)
            if call is None:
                answers["refused"] += 1
            else:
                calls.register(call, selectors.EVENT_READ)
            _read(calls, answers, 0)
        while calls.get_map() and time.perf_counter() - began < _MAX_S:
            _read(calls, answers, 1)
        answers["silent"] += len(calls.get_map())
    print(json.dumps({"rate": answers["200"] / (time.perf_counter() - began), "answers": +answers}))


def _sent(url: str) -> socket.socket | None:
    place = urlsplit(url)
    head = f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\nContent-Length: {len(_BODY)}"
    try:
        call = socket.create_connection((place.hostname, place.port or 80), timeout=_MAX_S)
        call.sendall(f"{head}\r\n\r\n".encode() + _BODY)
    except OSError:
        return None
    return call


def _read(calls: selectors.BaseSelector, answers: Counter[str], timeout_s: float) -> None:
    """Read the responses that have arrived and close their connections."""
    for key, _ in calls.select(timeout_s):
        call = key.fileobj
        assert isinstance(call, socket.socket)
        calls.unregister(call)
        with call:
            try:
                answers[call.recv(4096)[9:12].decode() or "closed"] += 1
            except OSError as error:
                answers[type(error).__name__] += 1


async def _load(how: str, urls: list[str], amount: float, rate: float) -> None:
    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=_MAX_CONCURRENT if how == "fast" else 0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        caller = Caller(session, urls)
        began = time.perf_counter()
        if how == "fast":
            await caller.fast(amount)
        else:
            await caller.steady(amount, rate)
        took = time.perf_counter() - began
    p99 = quantiles(caller.seconds, n=100)[98] if len(caller.seconds) > 1 else 0.0
    counted = caller.statuses.get("200", 0) + caller.statuses.get("404", 0)
    print(json.dumps({"rate": counted / took, "p99_ms": 1000 * p99, "answers": caller.statuses if counted else {}}))


def main(quick: bool) -> None:
    """Print the results. The two servers take turns."""
    rounds, seconds, at_once = (2, 1.0, 1500) if quick else (5, 6, _BURST)
    with running_servers(empty=True) as around:
        service = around.service()
        signer = CallbackSigner(around.environment["PIPELINE_SECRET"])
        runs = active_runs(service, at_once)
        paths = [signer.url("", run).rpartition("/")[2] for run in runs]
        with (
            web_server(around, "pipeline.web") as ours,
            web_server(around, "benchmarks.peers.empty_route") as peer,
        ):
            # The burst comes first: it is the first callback for each of these runs.
            result = json.loads(load(around, ours, paths, "burst", at_once))
            due = due_runs(service)
            peer_result = json.loads(load(around, peer, paths, "burst", at_once))
            print(f"\nReceiver, a burst of {len(runs):,} callbacks at once")
            print(f"  Dailies     answers {result['answers']}, {result['rate']:,.0f}/s; {due:,} runs are due")
            print(f"  empty route answers {peer_result['answers']}, {peer_result['rate']:,.0f}/s", flush=True)
            rates: dict[str, list[float]] = {ours: [], peer: []}
            for _ in range(rounds):
                for url, values in rates.items():
                    values.append(json.loads(load(around, url, paths, "fast", seconds))["rate"])
            limit = {url: median(values) for url, values in rates.items()}
            late: dict[str, list[float]] = {ours: [], peer: []}
            for _ in range(rounds):
                for url, values in late.items():
                    result = json.loads(load(around, url, paths, "steady", seconds, limit[ours] / 3))
                    values.append(result["p99_ms"])
            slow = {url: median(values) for url, values in late.items()}
            print(
                f"  at most {limit[ours]:,.0f}/s, empty route {limit[peer]:,.0f}/s, {limit[ours] / limit[peer]:.2f} x"
            )
            print(
                f"  p99 at {limit[ours] / 3:,.0f}/s: {slow[ours]:.1f} ms, "
                f"empty route {slow[peer]:.1f} ms, {slow[ours] / slow[peer]:.2f} x"
            )


if __name__ == "__main__":
    _URLS = Path(sys.argv[2]).read_text(encoding="utf-8").split()
    if sys.argv[1] == "burst":
        burst(_URLS)
    else:
        asyncio.run(_load(sys.argv[1], _URLS, float(sys.argv[3]), float(sys.argv[4])))
