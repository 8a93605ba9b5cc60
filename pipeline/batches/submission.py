"""Submission: a validated manifest becomes a batch on the ledger, with its inputs on S3."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.domain.model import BatchRow, Item, Manifest
from pipeline.domain.states import BatchState
from pipeline.errors import BatchOnlyOnS3, InvalidBatchId, InvalidSettings
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchConfig
from pipeline.manifest import parser as manifests
from pipeline.storage.s3 import Storage, join

MANIFEST = "manifest.yaml"
INPUTS = "inputs/"
"""Pictures that were sent: each batch has its own, those that came before it are beside the batches."""
_BATCH_ID = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_IMAGE_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
}


@dataclass(frozen=True)
class Accepted:
    """A batch that is on the ledger. `created` False: it was there already."""

    batch_id: str
    created: bool
    output: str


class Submission:
    """Puts batches on the ledger. `output`: the service's own `s3://bucket/prefix/`, None where there is none."""

    def __init__(self, ledger: Ledger, storage: Storage, job_queue: JobQueue, output: str | None) -> None:
        self._ledger = ledger
        self._storage = storage
        self._job_queue = job_queue
        self._output = output

    def submit(self, manifest: Manifest, batch_id: str | None, *, trigger: str, folder: Path | None) -> Accepted:
        """Take a batch in: on the ledger, its inputs and manifest on S3, its `start` job enqueued.

        `folder` is where file images lie. The same id again is the same batch; a submission that was cut off is
        taken up where it was. Raises InvalidBatchId, InvalidSettings, BatchOnlyOnS3, StorageError, Unreachable.
        """
        batch_id = _checked_id(batch_id) if batch_id else _new_id(manifest.name)
        output = join(self._output_of(manifest), f"{batch_id}/")
        manifest_digest = hashlib.sha256(manifests.dump(manifest)).hexdigest()
        known = self._ledger.batches.manifest_digest(batch_id)
        if known is None:
            self._refuse_what_only_s3_knows(batch_id, output)
        created = known is None and self.open(
            manifest, batch_id, output, trigger=trigger, manifest_digest=manifest_digest
        )
        if self._ledger.batches.is_accepted(batch_id):
            return Accepted(batch_id, created=False, output=self._ledger.batches.get(batch_id).output)
        if self._ledger.batches.manifest_digest(batch_id) == manifest_digest:
            self._load(batch_id, self._store(manifest, output, folder))
            self.start_batch(batch_id)
        return Accepted(batch_id, created, output)

    def start_batch(self, batch_id: str, *, stopped: str | None = None) -> None:
        """All items are on the ledger: have the batch started. `stopped`: why it had been stopped, if it was."""
        if stopped:
            self._ledger.batches.set_status(batch_id, BatchState.CANCELLING, among=[BatchState.QUEUED], reason=stopped)
        self._ledger.batches.accept(batch_id)
        self._job_queue.enqueue_once(Job.START, batch_id)

    def open(
        self,
        manifest: Manifest,
        batch_id: str,
        output: str,
        *,
        trigger: str,
        manifest_digest: str = "",
        revision: int = 1,
    ) -> bool:
        """Put a batch without its items on the ledger. False when the id is there. It waits for `let_go`."""
        limits = manifest.limits
        row = BatchRow(
            id=batch_id,
            name=manifest.name,
            model=manifest.model,
            status=BatchState.QUEUED,
            counts={},
            total=len(manifest.items),
            cost_usd=Decimal(0),
            created=datetime.now(UTC),
            finished=None,
            output=output,
            trigger=trigger,
            revision=revision,
        )
        plan = BatchConfig(
            model=manifest.model,
            image_field=manifest.image_field,
            params=manifest.params,
            attempts=limits.attempts,
            output=output,
            deadline_s=limits.deadline_s,
            tolerated_failures=limits.tolerated_failures,
            budgeted=limits.budget_usd is not None,
            notify=manifest.notify,
        )
        return self._ledger.batches.open(
            row, plan, max_active=limits.max_active or 0, budget_usd=limits.budget_usd, manifest_digest=manifest_digest
        )

    def _output_of(self, manifest: Manifest) -> str:
        output = manifest.output or self._output
        if not output:
            raise InvalidSettings(
                "No place for outputs: set PIPELINE_OUTPUT=s3://bucket/prefix/, or `output:` in the manifest."
            )
        return output

    def _refuse_what_only_s3_knows(self, batch_id: str, output: str) -> None:
        if self._storage.info(join(output, MANIFEST)) and self._ledger.batches.manifest_digest(batch_id) is None:
            raise BatchOnlyOnS3(
                f"S3 has a batch {batch_id!r} at {output}, the ledger has not. "
                f"Rebuild it with `dailies recover {output}`, or choose another --batch-id."
            )

    def _store(self, manifest: Manifest, output: str, folder: Path | None) -> tuple[Item, ...]:
        """Put file inputs, then the manifest that names them, on S3. Doing it twice changes nothing."""
        stored: dict[str, str] = {}
        items = tuple(self._with_stored_image(item, output, folder, stored) for item in manifest.items)
        text = manifests.dump(replace(manifest, items=items))
        self._storage.put_if_absent(join(output, MANIFEST), text, "application/yaml")
        return items

    def _load(self, batch_id: str, items: tuple[Item, ...]) -> None:
        uses = Counter(item.image for item in items if item.image and item.image.startswith("s3://"))
        self._ledger.shared_images.add(batch_id, (image for image, number in uses.items() if number > 1))
        self._ledger.items.load(batch_id, ((item.id, spec_of(item)) for item in items))

    def _with_stored_image(self, item: Item, output: str, folder: Path | None, stored: dict[str, str]) -> Item:
        if item.image is None:
            return item
        if item.image not in stored:
            stored[item.image] = self._in_batch(item.image, output, folder)
        image = stored[item.image]
        return item if image == item.image else replace(item, image=image)

    def _in_batch(self, image: str, output: str, folder: Path | None) -> str:
        """Where a picture is once the batch's folder has what is ours to give: a copy of the folder is then whole."""
        if "://" not in image:
            return self._store_input(folder / image, output) if folder else image
        sent = join(self._output, INPUTS) if self._output else None
        if sent is None or not image.startswith(sent):
            return image
        uri = join(output, INPUTS, image.removeprefix(sent))
        return uri if self._storage.info(uri) or self._storage.copy(image, uri) else image

    def _store_input(self, file: Path, output: str) -> str:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            suffix = file.suffix.lower()
            uri = join(output, INPUTS, f"{digest}{suffix}")
            if self._storage.info(uri) is None:
                source.seek(0)
                content_type = _IMAGE_TYPES.get(suffix, "application/octet-stream")
                self._storage.put_stream(uri, source, content_type)
        return uri


def spec_of(item: Item) -> dict[str, Any]:
    """What the ledger keeps of an item as the manifest has it."""
    return {"image": item.image, "prompt": item.prompt, "params": item.params}


def _checked_id(batch_id: str) -> str:
    if not _BATCH_ID.fullmatch(batch_id):
        raise InvalidBatchId(batch_id)
    return batch_id


def _new_id(name: str) -> str:
    return f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
