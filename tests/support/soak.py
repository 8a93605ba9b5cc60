"""A soak test: batches run through the whole service while its processes, Redis, S3 and the vendor fail at random.

Ended batches leave Redis after a few seconds, while the faults go on. `make chaos [MINUTES=…]` runs it. It prints the
faults that it injected and five counts, which must be 0:

    lost           items that succeeded without their output on S3, and items that results.json lacks
    double_billed  items that the vendor billed more than once
    stuck          items that did not end in time
    kept           batches that did not leave Redis in time, or left their journal on S3
    unknown        items that ended as unknown although the vendor has a run of them that was not found in its list
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.batches.batch_items import BatchItems
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import running_s3
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.storage.s3 import Storage
from support.faulty_proxy import FaultyProxy, a_faulty_proxy
from support.processes import QUICK, OwnRedis, Up, an_up, s3_environment, until

FAULTS: dict[str, Any] = {
    "fail": 0.03,
    "lose_answers": 0.02,
    "rate_limit": 0.02,
    "server_error": 0.02,
    "not_json": 0.01,
    "lose_callbacks": 0.1,
    "double_callbacks": 0.1,
    "early_callbacks": 0.05,
    "truncate": 0.03,
    "cdn_error": 0.03,
    "expire_urls": 0.05,
}
"""Options of the sandbox during the whole test: shares of faulty responses."""


KEEP_S = 3.0
"""An ended batch leaves Redis after so many seconds."""


@dataclass
class Outcome:
    """The counts after the faults have stopped and the batches had time to end."""

    lost: int = 0
    double_billed: int = 0
    stuck: int = 0
    unknown: int = 0
    kept: int = 0
    states: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        return (self.lost, self.double_billed, self.stuck, self.unknown, self.kept) == (0, 0, 0, 0, 0)


class Soak:
    """The service, the servers that it uses, and the faults."""

    def __init__(self, folder: Path, stack: ExitStack, seed: int) -> None:
        self.rng = random.Random(seed)
        self.injected: Counter[str] = Counter()
        (folder / "s3").mkdir()
        self.redis = OwnRedis(folder / "redis")
        stack.callback(self.redis.close)
        s3 = stack.enter_context(running_s3(folder / "s3", "chaos"))
        address = urlsplit(s3.endpoint)
        self.proxy: FaultyProxy = stack.enter_context(a_faulty_proxy((str(address.hostname), int(address.port or 80))))
        self.sandbox: Sandbox = stack.enter_context(
            running_sandbox(
                log=folder / "sandbox.log", seed=seed, task_s=0.5, output_bytes=20_000, balance=100_000, **FAULTS
            )
        )
        keys = s3_environment(s3)
        os.environ.update(keys)
        self.storage = Storage(s3.endpoint)
        self.output = "s3://chaos/out/"
        state = folder / "state"
        environment = {
            **QUICK,
            # The search for lost runs must outlast faults of the vendor and of Redis, and leases of killed workers.
            "PIPELINE_ADOPT_WAIT_S": "60",
            "PIPELINE_KEEP_DAYS": str(KEEP_S / 86_400),
            **self.sandbox.environment,
            **keys,
            "AWS_ENDPOINT_URL_S3": self.proxy.url,
            "REDIS_URL": self.redis.url,
            "PIPELINE_OUTPUT": self.output,
            "PIPELINE_SECRET": "chaos",
            "PIPELINE_PUBLIC_URL": Up(state, {}).url,
        }
        self.up: Up = stack.enter_context(an_up(state, environment))
        self.ledger = Ledger.connect(self.redis.url, retry_timeout_s=60)

    def inject_fault(self) -> None:
        """Inject one fault, chosen at random."""
        fault: Callable[[], None] = self.rng.choice(
            [self.kill_worker, self.kill_worker, self.kill_web, self.kill_cron, self.freeze_worker, self.kill_redis,
             self.vendor_burst, self.s3_burst]
        )  # fmt: skip
        fault()
        self.injected[fault.__name__] += 1

    def kill_worker(self) -> None:
        self._signal("rq worker", signal.SIGKILL)

    def kill_web(self) -> None:
        self._signal("pipeline.web", signal.SIGKILL)

    def kill_cron(self) -> None:
        self._signal("jobs.cron", signal.SIGKILL)

    def freeze_worker(self) -> None:
        """Stop a worker for longer than its leases, then continue it."""
        pid = self._signal("rq worker", signal.SIGSTOP)
        time.sleep(float(QUICK["PIPELINE_LEASE_S"]) + 2)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_redis(self) -> None:
        """Kill Redis and start it with the content of its append-only file."""
        self.redis.kill()
        time.sleep(self.rng.uniform(0, 2))
        self.redis.start()

    def vendor_burst(self) -> None:
        self.sandbox.change(server_error=0.5, rate_limit=0.3)
        time.sleep(1.5)
        self.sandbox.change(server_error=FAULTS["server_error"], rate_limit=FAULTS["rate_limit"])

    def s3_burst(self) -> None:
        self.proxy.share = 0.5
        time.sleep(1.5)
        self.proxy.share = 0.02

    def stop_faults(self) -> None:
        """Switch all faults off."""
        self.sandbox.change(**dict.fromkeys(FAULTS, 0))
        self.proxy.share = 0.0

    def _signal(self, words: str, number: signal.Signals) -> int | None:
        pids = self.up.pids(words)
        if not pids:
            return None
        pid = self.rng.choice(pids)
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def submit(self, number: int, items: int) -> str:
        """Submit a batch with unique prompts. Return its id."""
        batch = f"soak-{number}"
        image = f"http://{self.sandbox.address}/samples/portrait.jpg"
        rows = [{"id": f"i{n}", "image": image, "prompt": f"{batch} i{n}"} for n in range(items)]
        file = self.up.state / f"{batch}.yaml"
        file.write_text(json.dumps({"version": 1, "name": "soak", "limits": {"attempts": 8}, "items": rows}))
        until(lambda: self._submitted(file, batch), f"the submission of {batch}", 120)
        return batch

    def _submitted(self, file: Path, batch: str) -> bool:
        try:
            self.up.run("submit", str(file), "--batch-id", batch)
        except AssertionError as error:
            # Redis or S3 is unavailable. A repetition with the same id submits the same batch.
            if "exited with 3" in str(error) or "S3 " in str(error):
                return False
            raise
        return True

    def has_left(self, batch: str) -> bool:
        """Return whether nothing but the row of a batch is left, and of its journal only `opened.jsonl`."""
        with suppress(Unreachable):
            state = self.ledger.retention.state(batch)
            folder = self.ledger.batches.get(batch).output
            is_left = bool(state.archived) and state.is_complete
            return is_left and all(
                found.uri.endswith("/opened.jsonl") for found in self.storage.list(f"{folder}journal/")
            )
        return False

    def outcome(self, batches: list[str]) -> Outcome:
        """Compare ledger, S3 and the sandbox's bill."""
        result = Outcome(injected=self.injected)
        tasks = self.sandbox.tasks()
        known = self.ledger.lost_runs.known_tasks([task["id"] for task in tasks])
        not_found = {task["prompt"] for task in tasks if task["id"] not in known}
        billed = Counter(task["prompt"] for task in tasks if task["cost"] not in ("", "0"))
        result.double_billed = sum(1 for number in billed.values() if number > 1)
        for batch in batches:
            row = self.ledger.batches.get(batch)
            text = self.storage.get(row.output + "results.json")
            recorded = {item["id"]: item for item in json.loads(text)["items"]} if text else {}
            result.kept += not self.has_left(batch)
            for item in BatchItems(self.ledger, self.storage).stream(row):
                result.states[item.status] += 1
                if item.status == "unknown" and item.prompt in not_found:
                    result.unknown += 1
                    print("unknown:", item)
                if row.status not in BATCH_TERMINAL:
                    result.stuck += 1
                elif self._is_lost(item.status, recorded.get(item.id), billed[f"{batch} {item.id}"]):
                    result.lost += 1
                    print("lost:", item, recorded.get(item.id), "billed", billed[f"{batch} {item.id}"])
        return result

    def _is_lost(self, status: str, recorded: dict[str, Any] | None, billed: int) -> bool:
        if recorded is None or recorded["status"] != status:
            return True
        if status != "succeeded":
            return False
        return billed != 1 or not all(self.storage.info(output["uri"]) for output in recorded["outputs"])


def soak(folder: Path, *, items: int, batches: int, seconds: float, seed: int) -> Outcome:
    """Run `items` in `batches`, inject faults for at most `seconds`, stop the faults, wait and count."""
    with ExitStack() as stack:
        soak = Soak(folder, stack, seed)
        names = [soak.submit(number, items // batches) for number in range(batches)]
        faults_end = time.monotonic() + seconds
        while time.monotonic() < faults_end and not all(map(soak.has_left, names)):
            soak.inject_fault()
            time.sleep(soak.rng.uniform(0.2, 2))
        soak.stop_faults()
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and not all(map(soak.has_left, names)):
            time.sleep(0.5)
        return soak.outcome(names)


def main() -> None:
    """Run the soak test from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed={options.seed} items={options.items} batches={options.batches} minutes={options.minutes}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result = soak(
            Path(folder), items=options.items, batches=options.batches, seconds=options.minutes * 60, seed=options.seed
        )
    print("faults:", ", ".join(f"{name} {count}" for name, count in sorted(result.injected.items())))
    print("items:", ", ".join(f"{name} {count}" for name, count in sorted(result.states.items())))
    print(
        f"lost={result.lost} double_billed={result.double_billed} stuck={result.stuck} unknown={result.unknown} "
        f"kept={result.kept}"
    )
    sys.exit(0 if result.is_good else 1)


if __name__ == "__main__":
    main()
