"""A batch with outputs on a real S3 server, as the workers leave it, without a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from pipeline.domain import results
from pipeline.domain.states import BatchState
from pipeline.gallery import gallery_page
from pipeline.ledger.ledger import Ledger
from pipeline.storage.s3 import Storage
from support.images import JPEG
from support.ledger_fixtures import COLLECTING, SUCCEEDED, a_batch_config, a_row, dues, running

SHA256 = hashlib.sha256(JPEG).hexdigest()


def videos(*names: str, size: int = 1000) -> dict[str, list[bytes]]:
    """Return one output for each name; no two are the same."""
    return {name: [f"{name} ".encode() * (size // len(name))] for name in names}


def with_outputs(
    ledger: Ledger, storage: Storage, folder: str, outputs: Mapping[str, list[bytes]], batch_id: str = "b"
) -> str:
    """Create a batch in `folder`, with one item for each name and these outputs, all on S3. Return its folder."""
    output = f"{folder}{batch_id}/"
    row = replace(a_row(batch_id, len(outputs)), output=output)
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="digest")
    ledger.batches.accept(batch_id)
    image = f"{output}inputs/{SHA256}.jpg"
    storage.put(image, JPEG, "image/jpeg")
    spec = {"image": image, "prompt": "She smiles", "params": {}}
    ledger.items.load(batch_id, ((name, spec, None) for name in outputs))
    ledger.batches.start(batch_id, price_usd=Decimal(0), max_failures=100)
    running(ledger, len(outputs))
    for due in dues(ledger, len(outputs)):
        documents = [_put(storage, output, due.run.item, n, data) for n, data in enumerate(outputs[due.run.item])]
        assert ledger.runs.record_success(due, Decimal("0.09"))
        assert ledger.runs.end(due.run, due.lease, COLLECTING, SUCCEEDED, {"outputs": documents}).ours
    storage.put(f"{output}manifest.yaml", b"version: 1\n", "application/yaml")
    storage.put(f"{output}journal/1.jsonl", b"{}\n", "application/x-ndjson")
    return output


def end(ledger: Ledger, storage: Storage, batch_id: str = "b") -> None:
    """Write the results of a batch and mark it as ended."""
    lease = ledger.finalization.claim(batch_id, lease_s=60)
    assert lease
    row = ledger.batches.get(batch_id)
    ledger.finalization.complete(batch_id, lease, BatchState.SUCCEEDED, row.created, row.revision)
    row = ledger.batches.get(batch_id)
    items = list(ledger.items.stream(batch_id))
    page = "".join(gallery_page.page(row, items)).encode()
    for name, data in (
        ("results.jsonl", b"".join(results.as_jsonl(items))),
        ("results.csv", b"".join(results.as_csv(items))),
        ("index.html", page),
        ("results.json", b"".join(results.as_json(row, items))),
    ):
        storage.put(f"{row.output}{name}", data, "application/octet-stream")


def _put(storage: Storage, output: str, item: str, number: int, data: bytes) -> dict[str, object]:
    uri = f"{output}items/{item}/{number}.mp4"
    storage.put(uri, data, "video/mp4")
    sha256 = hashlib.sha256(data).hexdigest()
    return {"uri": uri, "content_type": "video/mp4", "size": len(data), "sha256": sha256}
