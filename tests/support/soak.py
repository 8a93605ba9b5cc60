"""A soak: batches through the whole service while everything around it fails at random, then the count.

`make chaos [MINUTES=…]` runs it. It prints what it did, and `lost=0 double_billed=0 stuck=0` when all is well:

    lost           items that ended as succeeded without their output on S3, or that results.json has not
    double_billed  items for which the vendor was paid more than once
    stuck          items that had not ended when the time was over
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

from pipeline.domain.states import BATCH_TERMINAL
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import running_s3
from pipeline.storage.s3 import Storage
from support.faulty_proxy import FaultyProxy, a_faulty_proxy
from support.processes import QUICK, OwnRedis, Sandbox, Up, a_sandbox, an_up, s3_environment, until

FAULTS = {
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
"""Shares of the vendor's and the CDN's answers that go wrong, all the time."""


@dataclass
class Outcome:
    """What is left when everything has been healed and has had time to end."""

    lost: int = 0
    double_billed: int = 0
    stuck: int = 0
    states: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        return (self.lost, self.double_billed, self.stuck) == (0, 0, 0)


class Soak:
    """The service, its surroundings, and a hand that breaks them."""

    def __init__(self, folder: Path, stack: ExitStack, seed: int) -> None:
        self.rng = random.Random(seed)
        self.deeds: Counter[str] = Counter()
        for name in ("s3", "sandbox"):
            (folder / name).mkdir()
        self.redis = OwnRedis(folder / "redis")
        stack.callback(self.redis.close)
        s3 = stack.enter_context(running_s3(folder / "s3", "chaos"))
        address = urlsplit(s3.endpoint)
        self.proxy: FaultyProxy = stack.enter_context(a_faulty_proxy((str(address.hostname), int(address.port or 80))))
        self.sandbox: Sandbox = stack.enter_context(
            a_sandbox(folder / "sandbox", seed=seed, task_s=0.5, output_bytes=20_000, balance=100_000, **FAULTS)
        )
        keys = s3_environment(s3)
        os.environ.update(keys)
        self.storage = Storage(s3.endpoint)
        self.output = "s3://chaos/out/"
        state = folder / "state"
        environment = {
            **QUICK,
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

    # What is done to it

    def break_something(self) -> None:
        """One fault, at random."""
        deed: Callable[[], None] = self.rng.choice(
            [self.kill_worker, self.kill_worker, self.kill_web, self.kill_cron, self.freeze_worker, self.kill_redis,
             self.vendor_burst, self.s3_burst]
        )  # fmt: skip
        deed()
        self.deeds[deed.__name__] += 1

    def kill_worker(self) -> None:
        self._signal("rq worker", signal.SIGKILL)

    def kill_web(self) -> None:
        self._signal("pipeline.web", signal.SIGKILL)

    def kill_cron(self) -> None:
        self._signal("jobs.cron", signal.SIGKILL)

    def freeze_worker(self) -> None:
        """A worker that stands still for longer than its leases, and wakes."""
        pid = self._signal("rq worker", signal.SIGSTOP)
        time.sleep(float(QUICK["PIPELINE_LEASE_S"]) + 2)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_redis(self) -> None:
        """The server dies and comes back with what its append-only file has."""
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

    def heal(self) -> None:
        """Nothing fails any more."""
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

    # What goes through it

    def submit(self, number: int, items: int) -> str:
        """A batch whose prompts are found nowhere else."""
        batch = f"soak-{number}"
        image = f"http://{self.sandbox.place}/samples/portrait.jpg"
        rows = [{"id": f"i{n}", "image": image, "prompt": f"{batch} i{n}"} for n in range(items)]
        file = self.up.state / f"{batch}.yaml"
        file.write_text(json.dumps({"version": 1, "name": "soak", "limits": {"attempts": 8}, "items": rows}))
        until(lambda: self._submitted(file, batch), f"{batch} to be taken in", 120)
        return batch

    def _submitted(self, file: Path, batch: str) -> bool:
        try:
            self.up.run("submit", str(file), "--batch-id", batch)
        except AssertionError as error:
            # Redis or S3 is away just now: the same again is the same batch.
            if "ended with 3" in str(error) or "S3 " in str(error):
                return False
            raise
        return True

    def has_ended(self, batch: str) -> bool:
        try:
            return self.ledger.batches.get(batch).status in BATCH_TERMINAL
        except Unreachable:
            return False

    # The count

    def outcome(self, batches: list[str]) -> Outcome:
        """Ledger, S3 and the vendor's books, compared."""
        result = Outcome(deeds=self.deeds)
        billed = Counter(task["prompt"] for task in self.sandbox.tasks() if task["cost"] not in ("", "0"))
        result.double_billed = sum(1 for number in billed.values() if number > 1)
        for batch in batches:
            row = self.ledger.batches.get(batch)
            text = self.storage.get(row.output + "results.json")
            told = {item["id"]: item for item in json.loads(text)["items"]} if text else {}
            for item in self.ledger.items.stream(batch):
                result.states[item.status] += 1
                if row.status not in BATCH_TERMINAL:
                    result.stuck += 1
                elif self._is_lost(item.id, item.status, told.get(item.id), billed[f"{batch} {item.id}"]):
                    result.lost += 1
        return result

    def _is_lost(self, item: str, status: str, told: dict[str, Any] | None, billed: int) -> bool:
        if told is None or told["status"] != status:
            return True
        if status != "succeeded":
            return False
        return billed != 1 or not all(self.storage.info(output["uri"]) for output in told["outputs"])


def soak(folder: Path, *, items: int, batches: int, seconds: float, seed: int) -> Outcome:
    """Send `items` through the service in `batches`, breaking things for at most `seconds`; then heal and count."""
    with ExitStack() as stack:
        soak = Soak(folder, stack, seed)
        names = [soak.submit(number, items // batches) for number in range(batches)]
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not all(map(soak.has_ended, names)):
            soak.break_something()
            time.sleep(soak.rng.uniform(0.2, 2))
        soak.heal()
        patience = time.monotonic() + 120
        while time.monotonic() < patience and not all(map(soak.has_ended, names)):
            time.sleep(0.5)
        return soak.outcome(names)


def main() -> None:
    """The soak from the command line."""
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
    print("did:", ", ".join(f"{name} {count}" for name, count in sorted(result.deeds.items())))
    print("items:", ", ".join(f"{name} {count}" for name, count in sorted(result.states.items())))
    print(f"lost={result.lost} double_billed={result.double_billed} stuck={result.stuck}")
    sys.exit(0 if result.good else 1)


if __name__ == "__main__":
    main()
