"""What CLI, API, schedules and triggers share: taking a batch in, cancelling it, letting it go again."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from pipeline.batches.job_queue import JobQueue
from pipeline.domain.model import BatchRow, Item, Manifest, Review
from pipeline.domain.results import RESULTS
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import BatchOnlyOnS3, InvalidBatchId, InvalidSettings, StorageError
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchConfig
from pipeline.manifest import parser as manifests
from pipeline.settings import Settings
from pipeline.storage.journal import Entry, Journal
from pipeline.storage.s3 import Storage, join

log = structlog.get_logger()

MANIFEST = "manifest.yaml"
INPUTS = "inputs/"
"""Pictures that were sent: each batch has its own, those that came before it are beside the batches."""
REWRITE_DELAY_S = 3.0
"""How long reviews of an ended batch are gathered before its results are written anew."""
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

    def __init__(self, settings: Settings, ledger: Ledger, storage: Storage, job_queue: JobQueue) -> None:
        self.settings = settings
        self.ledger = ledger
        self.storage = storage
        self.job_queue = job_queue
        self.journal = Journal(storage)

    @classmethod
    def from_settings(cls, settings: Settings, *, retry_timeout_s: float = 0) -> Service:
        """Wired to the servers of `settings`; nothing is sent yet.

        `patience_s`: how long Redis may be away before Unreachable is raised. People and callers wait for an answer:
        they get 0; a worker holds what was paid for.
        """
        return cls(
            settings,
            Ledger.connect(settings.redis_url, retry_timeout_s=retry_timeout_s),
            Storage(settings.s3_endpoint),
            JobQueue(settings.redis_url, retry_timeout_s=retry_timeout_s),
        )

    def submit(self, manifest: Manifest, batch_id: str | None, *, trigger: str, folder: Path | None) -> Accepted:
        """Take a batch in: on the ledger, its inputs and manifest on S3, its `start` job enqueued.

        `folder` is where file images lie. The same id again is the same batch; a submission that was cut off is
        taken up where it was. Raises InvalidBatchId, InvalidSettings, BatchOnlyOnS3, StorageError, Unreachable.
        """
        batch_id = _checked_id(batch_id) if batch_id else _new_id(manifest.name)
        output = join(self._output_of(manifest), f"{batch_id}/")
        manifest_digest = hashlib.sha256(manifests.dump(manifest)).hexdigest()
        known = self.ledger.manifest_digest(batch_id)
        if known is None:
            self._refuse_what_only_s3_knows(batch_id, output)
        created = known is None and self.open(
            manifest, batch_id, output, trigger=trigger, manifest_digest=manifest_digest
        )
        if self.ledger.is_accepted(batch_id):
            return Accepted(batch_id, created=False, output=self.ledger.batch(batch_id).output)
        if self.ledger.manifest_digest(batch_id) == manifest_digest:
            self._load(batch_id, self._store(manifest, output, folder))
            self.start_batch(batch_id)
        return Accepted(batch_id, created, output)

    def start_batch(self, batch_id: str, *, stopped: str | None = None) -> None:
        """All items are on the ledger: have the batch started. `stopped`: why it had been stopped, if it was."""
        if stopped:
            self.ledger.set_status(batch_id, BatchState.CANCELLING, among=[BatchState.QUEUED], reason=stopped)
        self.ledger.accept_batch(batch_id)
        self.job_queue.enqueue_once("start", batch_id)

    def cancel(self, batch_id: str) -> None:
        """Stop a batch: what waits is cancelled here, what runs is cancelled or killed at the vendor."""
        self.stop(batch_id, Stop.BY_HAND, [BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED])

    def stop(self, batch_id: str, reason: Stop, among: list[BatchState]) -> None:
        """Cancel a batch for `reason` where its status is one of `among`. Raises NoSuchBatch."""
        if not self.ledger.set_status(batch_id, BatchState.CANCELLING, among=among, reason=reason):
            return
        if self.ledger.is_loaded(batch_id):
            self.cancel_pending(batch_id, reason)
            self.ledger.poll_now(batch_id)
            self.job_queue.enqueue_once("collect")
        self._note(batch_id, {"do": "stop", "reason": reason})

    def cancel_pending(self, batch_id: str, reason: str) -> None:
        """End whatever waits in a batch that is being cancelled."""
        if self.ledger.cancel_pending(batch_id, reason) == 0:
            self.job_queue.enqueue_once("finish", batch_id)

    def retry(self, batch_id: str, states: Collection[str]) -> int:
        """Let ended items in `states` go again; what is paid is copied again, not run. Answers how many."""
        reopened = self.ledger.retry_items(batch_id, states)
        if reopened:
            self._note(batch_id, {"do": "reopen", "states": sorted(states)})
            self.job_queue.enqueue_once("submit")
            self.job_queue.enqueue_once("collect")
        return reopened

    def retry_item(self, batch_id: str, item_id: str) -> bool:
        """Let one ended item go again. False when there is nothing to try again. Raises NoSuchBatch, NoSuchItem."""
        state = self.ledger.item(batch_id, item_id).status
        reopened = self.ledger.retry_item(batch_id, item_id)
        if reopened:
            self._note(batch_id, {"do": "reopen", "states": [state], "items": [item_id]})
            self.job_queue.enqueue_once("submit")
            self.job_queue.enqueue_once("collect")
        return reopened

    def create_take(self, batch_id: str, item_id: str, prompt: str) -> str:
        """Another take of an item, with another prompt, in the same batch. Answers the new item's id.

        Raises NoSuchBatch, NoSuchItem.
        """
        spec = {**self.ledger.spec(batch_id, item_id), "prompt": prompt, "take_of": item_id}
        for number in count(2):
            new_id = f"{item_id}-take{number}"
            if self.ledger.add_item(batch_id, new_id, spec):
                break
        self._note(batch_id, {"do": "add", "item": new_id, "spec": spec})
        self.job_queue.enqueue_once("submit")
        return new_id

    def review(self, batch_id: str, item_id: str, review: Review | None) -> None:
        """Note a person's verdict on an item, None takes it back; results that are written are written anew.

        Raises NoSuchBatch, NoSuchItem.
        """
        due = self.ledger.review(batch_id, item_id, review)
        verdict = {"mark": review.mark, "note": review.note} if review else {"mark": None}
        self._note(batch_id, {"do": "review", "item": item_id, **verdict})
        if due:
            self.job_queue.enqueue_in("finish", REWRITE_DELAY_S, batch_id)

    def _note(self, batch_id: str, entry: Entry) -> None:
        """For `recover`. What a person wants is done even when S3 is away; the note is then missing, and said so."""
        try:
            self.journal.write(self.ledger.batch(batch_id).output, [entry])
        except StorageError as error:
            log.warning("not_in_journal", batch=batch_id, entry=entry["do"], error=str(error))

    def resume(self, batch_id: str | None) -> None:
        """Go on with a paused batch, or with the whole account. Raises NoSuchBatch."""
        self.ledger.resume(batch_id)
        self.job_queue.enqueue_once("submit")

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
        if self.storage.info(join(output, MANIFEST)) and self.ledger.manifest_digest(batch_id) is None:
            raise BatchOnlyOnS3(
                f"S3 has a batch {batch_id!r} at {output}, the ledger has not. "
                f"Rebuild it with `dailies recover {output}`, or choose another --batch-id."
            )

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
        return self.ledger.open_batch(
            row, plan, max_active=limits.max_active or 0, budget_usd=limits.budget_usd, manifest_digest=manifest_digest
        )

    def _store(self, manifest: Manifest, output: str, folder: Path | None) -> tuple[Item, ...]:
        """Put file inputs, then the manifest that names them, on S3. Doing it twice changes nothing."""
        stored: dict[str, str] = {}
        items = tuple(self._with_stored_image(item, output, folder, stored) for item in manifest.items)
        text = manifests.dump(replace(manifest, items=items))
        self.storage.put_if_absent(join(output, MANIFEST), text, "application/yaml")
        return items

    def _load(self, batch_id: str, items: tuple[Item, ...]) -> None:
        uses = Counter(item.image for item in items if item.image and item.image.startswith("s3://"))
        self.ledger.share_images(batch_id, (image for image, number in uses.items() if number > 1))
        self.ledger.load_items(batch_id, ((item.id, spec_of(item)) for item in items))

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
        sent = join(self.settings.output, INPUTS) if self.settings.output else None
        if sent is None or not image.startswith(sent):
            return image
        uri = join(output, INPUTS, image.removeprefix(sent))
        return uri if self.storage.info(uri) or self.storage.copy(image, uri) else image

    def _store_input(self, file: Path, output: str) -> str:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            suffix = file.suffix.lower()
            uri = join(output, INPUTS, f"{digest}{suffix}")
            if self.storage.info(uri) is None:
                source.seek(0)
                content_type = _IMAGE_TYPES.get(suffix, "application/octet-stream")
                self.storage.put_stream(uri, source, content_type)
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
