"""The demo: a separate service, a sample batch, and its videos as files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.batches.service import Service
from pipeline.errors import StorageError
from pipeline.local.stack import BUCKET, Stack
from pipeline.local.state_file import SETTINGS
from pipeline.manifest import parser as manifests
from pipeline.storage.s3 import Storage, join

SAMPLES = Path(__file__).parents[2] / "config" / "samples"
EXPECTED_TO_FAIL = {"blooper"}
"""Items of the sample manifest that show what a failure looks like."""
_SAMPLES_URI = f"s3://{BUCKET}/samples/"


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the service's settings, so that a demo uses no real service and costs nothing.

    The settings file is not read either. Intervals are short.
    """
    neutral = {name: value for name, value in environ.items() if not name.startswith(SETTINGS)}
    intervals = {"PIPELINE_POLL_AFTER_S": "5", "PIPELINE_SWEEP_EVERY_S": "5"}
    return {**neutral, **intervals, "PIPELINE_CONFIG": os.devnull}


def submit(stack: Stack, service: Service) -> str:
    """Submit the sample batch. Return its id."""
    _upload_sample(service.storage)
    sandbox = stack.environment["WIRO_API_URL"].removesuffix("/v1")
    text = (SAMPLES / "demo.yaml").read_text(encoding="utf-8")
    text = text.replace("{sandbox}", sandbox).replace("{samples}", _SAMPLES_URI.rstrip("/"))
    manifest = manifests.parse(text.encode(), file="demo.yaml", read_rows=_no_rows, local_files=SAMPLES)
    return service.submission.submit(manifest, None, trigger="cli", folder=SAMPLES).batch_id


def ended_as_expected(service: Service, batch_id: str) -> bool:
    """Return whether exactly the items of EXPECTED_TO_FAIL did not succeed."""
    failed = {row.id for row in service.ledger.items.stream(batch_id) if row.status != "succeeded"}
    return failed == EXPECTED_TO_FAIL


@contextmanager
def polled(stack: Stack) -> Iterator[None]:
    """Keep the processes of `stack` running while the block runs."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.2):
            stack.supervisor.poll()

    thread = threading.Thread(target=poll, name="supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _upload_sample(storage: Storage) -> None:
    data = (SAMPLES / "astronaut.jpg").read_bytes()
    storage.put(join(_SAMPLES_URI, "astronaut.jpg"), data, "image/jpeg")


def _no_rows(reference: str) -> bytes:
    raise StorageError(f"{reference}: the sample manifest has no row files", retryable=False)
