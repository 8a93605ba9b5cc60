"""What a batch leaves in Redis: used_memory before it, with its items, and after it was archived. Then it is restored.

python -m benchmarks.retention [ITEMS]
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.batches.service import Service
from pipeline.domain import results
from pipeline.domain.model import Item, Limits, Manifest
from pipeline.domain.states import BatchState, ItemState, batch_outcome
from pipeline.local.servers import running_s3, running_valkey
from pipeline.observability import logging
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage, join

BATCH = "large"
PROMPT = "She turns her head, smiles and waves, while the camera moves slowly around her in the evening light. "


def main() -> None:
    """Print the figures of one batch."""
    logging.configure()
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "redis").mkdir()
        (Path(folder) / "s3").mkdir()
        with running_valkey(Path(folder) / "redis") as redis_url, running_s3(Path(folder) / "s3", "bench") as s3:
            os.environ |= {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
            os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
            settings = Settings(
                redis_url=redis_url,
                s3_endpoint=s3.endpoint,
                output="s3://bench/out/",
                wiro_api_url="http://127.0.0.1:1",
                keep_days=1e-9,
            )
            measure(Service.connect(settings, storage=Storage(s3.endpoint)), number)


def measure(service: Service, number: int) -> None:
    """Create a batch of `number` items that have ended, archive it, and print the memory of Redis at each step."""
    # The server keeps the scripts that it has seen, and buffers of their size.
    for _ in range(2):
        _create(service, 2000)
        service.retention.archive(BATCH)
        _forget_tasks(service)
        service.retention.forget(BATCH)
    before, keys_before = _settled(service), _in_keys(service)
    _create(service, number)
    full = _used(service)
    began = time.perf_counter()
    service.retention.archive(BATCH)
    took_s = time.perf_counter() - began
    assert service.ledger.batches.get(BATCH).archived
    _forget_tasks(service)
    after, keys_after = _settled(service), _in_keys(service)
    row = service.ledger.redis.memory_usage(f"dailies:batch:{BATCH}")
    print(f"items {number:,}")
    print(f"used_memory before {before:,} B, with the items {full:,} B, after {after:,} B")
    print(f"left {after - before:,} B, in keys {keys_after - keys_before:,} B, of which the row {row:,} B")
    print(f"archived in {took_s:.1f} s")
    began = time.perf_counter()
    assert sum(1 for _ in service.items.stream(service.ledger.batches.get(BATCH))) == number
    print(f"items read from S3 in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    service.recovery.restore(BATCH)
    print(f"restored in {time.perf_counter() - began:.1f} s, used_memory {_used(service):,} B")
    print(f"largest memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def _create(service: Service, number: int) -> None:
    items = tuple(Item(f"item-{n}", None, f"{PROMPT}{n}") for n in range(number))
    manifest = Manifest("large", "m/n", None, None, {}, Limits(), None, items)
    for info in service.storage.list(f"s3://bench/out/{BATCH}/"):
        service.storage.delete(info.uri)
    output = service.submission.submit(manifest, BATCH, trigger="bench", folder=None).output
    # As a recovery does: the items have ended, without a vendor.
    service.ledger.redis.delete(f"dailies:batch:{BATCH}", *(f"dailies:batch:{BATCH}:{part}" for part in _PARTS))
    service.submission.create(manifest, BATCH, output, trigger="bench")
    service.ledger.items.restore(BATCH, _ended(items, output), {}, adopt_wait_s=1)
    service.ledger.batches.start(BATCH, price_usd=Decimal(0), max_failures=number)
    lease = service.ledger.finalization.claim(BATCH, lease_s=600)
    assert lease
    finished = datetime.now(UTC).replace(microsecond=0)
    row = service.ledger.batches.get(BATCH)
    row = replace(row, status=batch_outcome(row.counts, None), finished=finished)
    rows = list(service.ledger.items.stream(BATCH))
    service.storage.put(join(output, results.LINES), b"".join(results.as_jsonl(rows)), "application/x-ndjson")
    service.storage.put(join(output, results.RESULTS), b"".join(results.as_json(row, rows)), "application/json")
    service.ledger.finalization.complete(BATCH, lease, BatchState(row.status), finished, row.revision)


_PARTS = ("order", "specs", "pending", "prices")


def _ended(items: tuple[Item, ...], output: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, item in enumerate(items):
        file = {"uri": f"{output}items/{item.id}/0.mp4", "content_type": "video/mp4", "size": 1, "sha256": "0" * 64}
        yield (
            item.id,
            {
                "spec": {"image": None, "prompt": item.prompt, "params": {}},
                "state": ItemState.SUCCEEDED,
                "attempt": 1,
                "task": f"{number:010}",
                "token": "t" * 32,
                "paid": "0.09",
                "charged": "0",
                "found_by": None,
                "reuse_key": hashlib.sha256(item.id.encode()).hexdigest()[:32],
                "outcome": {"status": "succeeded", "error": None, "elapsed_s": 60.5, "outputs": [file]},
            },
        )


def _forget_tasks(service: Service) -> None:
    """Let weeks pass: the sweep removes the tasks of the runs."""
    service.ledger.redis.zunionstore("dailies:tasks", {"dailies:tasks": 0})
    service.ledger.runs.expire_leases(adopt_wait_s=1, on_unknown="hold")


def _used(service: Service) -> int:
    return int(service.ledger.redis.info("memory")["used_memory"])


def _in_keys(service: Service) -> int:
    """Return the memory of all keys; jobs in the queue do not count, because no worker takes them here."""
    redis = service.ledger.redis
    return sum(redis.memory_usage(key, samples=0) for key in redis.scan_iter("dailies:*") if ":wake:" not in key)


def _settled(service: Service) -> int:
    """Return the memory after the server has freed what was unlinked: it does so in the background.

    Without the log of its 128 slowest commands.
    """
    service.ledger.redis.slowlog_reset()
    used = _used(service)
    for _ in range(100):
        time.sleep(0.1)
        now = _used(service)
        if now == used:
            return now
        used = now
    return used


if __name__ == "__main__":
    main()
