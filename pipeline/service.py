"""What CLI, API, schedules and triggers share: taking a batch in, cancelling it, letting it go again."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pipeline import manifest as manifests
from pipeline.errors import BatchOnlyOnS3, InvalidBatchId, InvalidSettings
from pipeline.ledger import Ledger
from pipeline.ledger_rows import Plan
from pipeline.model import BatchRow, Item, Manifest
from pipeline.settings import Settings
from pipeline.states import BatchState, Stop
from pipeline.storage import Storage, join
from pipeline.wake import Waker

MANIFEST = "manifest.yaml"
RESULTS = "results.json"
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


class Service:
    """The verbs of the service."""

    def __init__(self, settings: Settings, ledger: Ledger, storage: Storage, waker: Waker) -> None:
        self.settings = settings
        self.ledger = ledger
        self.storage = storage
        self.waker = waker

    @classmethod
    def from_settings(cls, settings: Settings) -> Service:
        """Wired to the servers of `settings`; nothing is sent yet."""
        return cls(
            settings, Ledger.connect(settings.redis_url), Storage(settings.s3_endpoint), Waker(settings.redis_url)
        )

    def submit(self, manifest: Manifest, batch_id: str | None, *, trigger: str, folder: Path | None) -> Accepted:
        """Take a batch in: on the ledger, its inputs and manifest on S3, its `start` job enqueued.

        `folder` is where file images lie. The same id again is the same batch; a submission that was cut off is
        taken up where it was. Raises InvalidBatchId, InvalidSettings, BatchOnlyOnS3, StorageError, Unreachable.
        """
        batch_id = _checked_id(batch_id) if batch_id else _new_id(manifest.name)
        output = join(self._output_of(manifest), f"{batch_id}/")
        asked = hashlib.sha256(manifests.dump(manifest)).hexdigest()
        known = self.ledger.asked(batch_id)
        if known is None:
            self._refuse_what_only_s3_knows(batch_id, output)
        created = known is None and self._open(manifest, batch_id, output, trigger, asked)
        if self.ledger.is_accepted(batch_id):
            return Accepted(batch_id, created=False, output=self.ledger.batch(batch_id).output)
        if self.ledger.asked(batch_id) == asked:
            self._store(manifest, output, folder)
            self.ledger.accept_batch(batch_id)
            self.waker.wake("start", batch_id)
        return Accepted(batch_id, created, output)

    def cancel(self, batch_id: str) -> None:
        """Stop a batch: what waits is cancelled here, what runs is cancelled or killed at the vendor."""
        self.stop(batch_id, Stop.BY_HAND, [BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED])

    def stop(self, batch_id: str, reason: Stop, among: list[BatchState]) -> None:
        """Cancel a batch for `reason` where its status is one of `among`. Raises NoSuchBatch."""
        if not self.ledger.set_status(batch_id, BatchState.CANCELLING, among=among, reason=reason):
            return
        if not self.ledger.is_loaded(batch_id):
            return
        self.settle(batch_id, reason)
        self.ledger.hurry_running(batch_id)
        self.waker.wake("collect")

    def settle(self, batch_id: str, reason: str) -> None:
        """End whatever waits in a batch that is being cancelled."""
        if self.ledger.cancel_pending(batch_id, reason) == 0:
            self.waker.wake("finish", batch_id)

    def retry(self, batch_id: str, states: Collection[str]) -> int:
        """Let ended items in `states` go again; what is paid is copied again, not run. Answers how many."""
        reopened = self.ledger.reopen(batch_id, states)
        if reopened:
            self.waker.wake("submit")
            self.waker.wake("collect")
        return reopened

    def resume(self, batch_id: str | None) -> None:
        """Go on with a paused batch, or with the whole account. Raises NoSuchBatch."""
        self.ledger.resume(batch_id)
        self.waker.wake("submit")

    def results_uri(self, batch: BatchRow) -> str:
        """Where the results manifest of a batch is, once it has ended."""
        return join(batch.output, RESULTS)

    def _output_of(self, manifest: Manifest) -> str:
        output = manifest.output or self.settings.output
        if not output:
            raise InvalidSettings(
                "No place for outputs: set PIPELINE_OUTPUT=s3://bucket/prefix/, or `output:` in the manifest."
            )
        return output

    def _refuse_what_only_s3_knows(self, batch_id: str, output: str) -> None:
        if self.storage.info(join(output, MANIFEST)) and self.ledger.asked(batch_id) is None:
            raise BatchOnlyOnS3(
                f"S3 has a batch {batch_id!r} at {output}, the ledger has not. "
                f"Rebuild it with `dailies recover {output}`, or choose another --batch-id."
            )

    def _open(self, manifest: Manifest, batch_id: str, output: str, trigger: str, asked: str) -> bool:
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
        )
        plan = Plan(manifest.model, manifest.image_field, manifest.params, limits.attempts, output, limits.deadline_s)
        return self.ledger.open_batch(
            row, plan, max_active=limits.max_active or 0, budget_usd=limits.budget_usd, asked=asked
        )

    def _store(self, manifest: Manifest, output: str, folder: Path | None) -> None:
        """Put file inputs, then the manifest that names them, on S3. Doing it twice changes nothing."""
        stored: dict[str, str] = {}
        items = tuple(self._with_stored_image(item, output, folder, stored) for item in manifest.items)
        text = manifests.dump(replace(manifest, items=items))
        self.storage.put_if_absent(join(output, MANIFEST), text, "application/yaml")

    def _with_stored_image(self, item: Item, output: str, folder: Path | None, stored: dict[str, str]) -> Item:
        if item.image is None or "://" in item.image or folder is None:
            return item
        if item.image not in stored:
            stored[item.image] = self._store_input(folder / item.image, output)
        return replace(item, image=stored[item.image])

    def _store_input(self, file: Path, output: str) -> str:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            suffix = file.suffix.lower()
            uri = join(output, "inputs/", f"{digest}{suffix}")
            if self.storage.info(uri) is None:
                source.seek(0)
                content_type = _IMAGE_TYPES.get(suffix, "application/octet-stream")
                self.storage.put_stream(uri, source, content_type)
        return uri


def _checked_id(batch_id: str) -> str:
    if not _BATCH_ID.fullmatch(batch_id):
        raise InvalidBatchId(batch_id)
    return batch_id


def _new_id(name: str) -> str:
    return f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
