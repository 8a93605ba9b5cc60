"""Submission: a validated manifest becomes a batch in the ledger, with its inputs on S3."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.pricing import BatchEstimate, Ceiling, check_ceilings
from pipeline.batches.reuse_keys import image_identities, reuse_key
from pipeline.batches.stored_images import with_stored_images
from pipeline.batches.stored_manifest import INPUTS, MANIFEST, content_difference, has_same_items, stored_manifest
from pipeline.domain.ids import is_batch_id
from pipeline.domain.model import BatchRow, Item, Manifest
from pipeline.domain.results import RESULTS
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import (
    BatchOnlyOnS3,
    InvalidBatchId,
    InvalidSettings,
    OtherContent,
    StorageError,
    SubmissionInterrupted,
    SubmissionReplaced,
)
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchConfig, SubmissionRow
from pipeline.manifest import parser as manifests
from pipeline.manifest.model_check import default_params, fit_to_schema, image_field_of
from pipeline.manifest.validators import DEFAULT_IMAGE_FIELD
from pipeline.settings import environment_name
from pipeline.storage import journal
from pipeline.storage.journal import Journal
from pipeline.storage.s3 import Storage, join
from pipeline.wiro.model_schema import ModelSchema

_AUTOMATIC = ("schedule:", "trigger:")
_DIGEST_CHARS = 12
_MAX_REQUESTS = 1000
_OF_A_BATCH = ("run", "reuse", "archive", journal.DAMAGED)
"""Kinds of journal entries which show that a batch has run."""


@dataclass(frozen=True)
class Accepted:
    """A batch in the ledger. `created` is False if it already existed."""

    batch_id: str
    created: bool
    output: str


class Submission:
    """Creates batches.

    `output`: the default `s3://bucket/prefix/` of the service, or None. `max_batch_usd`: what a batch may cost at most.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        journal: Journal,
        job_queue: JobQueue,
        models: ModelCatalog,
        output: str | None,
        max_batch_usd: Decimal | None,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._journal = journal
        self._job_queue = job_queue
        self._models = models
        self._output = output
        self._ceilings = [] if max_batch_usd is None else [Ceiling(environment_name("max_batch_usd"), max_batch_usd)]

    def check_cost(self, estimate: BatchEstimate, *ceilings: Ceiling) -> None:
        """Raise BatchAboveCeiling if a batch may cost more than the ceiling of the service or one of `ceilings`."""
        check_ceilings(estimate, [*self._ceilings, *ceilings])

    def _check_cost_with_reuse(
        self, estimate: BatchEstimate, manifest: Manifest, folder: Path | None, ceilings: Sequence[Ceiling]
    ) -> None:
        if self._ceilings or ceilings:
            self.check_cost(self.with_reuse(estimate, manifest, folder), *ceilings)

    def with_reuse(self, estimate: BatchEstimate, manifest: Manifest, folder: Path | None) -> BatchEstimate:
        """Return the estimate of a batch without the items whose outputs are reused. `folder`: that of image files.

        The versions of at most 1,000 images on S3 are requested; items with others count as bought, and the estimate
        has their number. Raises Unreachable.
        """
        if not manifest.reuse:
            return estimate
        schema = self._models.schema(manifest.model)
        fitted = fit_to_schema(manifest, schema)
        config = _batch_config(fitted, schema, "")
        outputs = [self._output] if self._output else []
        images = dict.fromkeys(item.image for item in fitted.items if item.image)
        identities = image_identities(images, self._storage, outputs, folder=folder, max_requests=_MAX_REQUESTS)
        digests = [reuse_key(config, item, identities) for item in fitted.items]
        left = Counter(self._ledger.reusable.counts(filter(None, digests)))
        reused: set[int] = set()
        for position, digest in enumerate(digests):
            # Equal items are takes: each reuses another output.
            if digest and left[digest] > 0:
                left[digest] -= 1
                reused.add(position)
        return replace(estimate, reused=frozenset(reused), unidentified=len(images.keys() - identities.keys()))

    def submit(
        self,
        manifest: Manifest,
        batch_id: str | None,
        *,
        trigger: str,
        folder: Path | None,
        ceilings: Sequence[Ceiling] = (),
    ) -> Accepted:
        """Create a batch in the ledger, store its inputs and manifest on S3, and enqueue its `start` job.

        `batch_id`: None for a new one. The same id again returns the same batch, and continues a submission that was
        interrupted, or cancelled before it was accepted; but what a person has cancelled, no schedule and no trigger
        submits again. `folder`: the folder of image files. `trigger`: what started the batch. `ceilings`: of a rule,
        besides that of the service.
        For a schedule or a trigger, the same id is the same occurrence or object, also with another manifest.
        Raises CannotRead, InvalidBatchId, InvalidSettings, BatchAboveCeiling, BatchOnlyOnS3, OtherContent,
        SubmissionInterrupted, SubmissionReplaced, StorageError, Unreachable.
        """
        batch_id = _validate_id(batch_id) if batch_id else _new_id(manifest.name)
        output = join(self._output_prefix(manifest), f"{batch_id}/")
        digest = _digest(manifest)
        known = self._ledger.batches.submission(batch_id)
        if known and (known.is_accepted or _is_refused(known, trigger)):
            if not trigger.startswith(_AUTOMATIC):
                self._check_same_content(batch_id, manifest, digest, folder, known.manifest_digest)
            return Accepted(batch_id, created=False, output=self._ledger.batches.get(batch_id).output)
        estimate = BatchEstimate.of(manifest, self._models)
        self._check_id_is_free(batch_id, output, known, digest)
        if known is None or known.cancelled is not None:
            self._check_cost_with_reuse(estimate, manifest, folder, ceilings)
        created = self.create(manifest, batch_id, output, trigger=trigger, manifest_digest=digest)
        try:
            self._complete(manifest, batch_id, output, folder, estimate, known)
        except BatchOnlyOnS3:
            # Another process can have completed the submission in the meantime, and its batch can have run.
            if not self._is_accepted(batch_id, digest):
                raise
        except StorageError as error:
            raise StorageError(
                f"{error} Batch {batch_id!r} is not started. Submit it again with the same id, or cancel it: "
                f"`dailies cancel {batch_id}`.",
                retryable=error.retryable,
            ) from None
        return Accepted(batch_id, created, output)

    def _check_id_is_free(self, batch_id: str, output: str, known: SubmissionRow | None, digest: str) -> None:
        """Raise BatchOnlyOnS3 or SubmissionInterrupted if the id is that of another batch or submission."""
        if known is None:
            self._check_absent_on_s3(batch_id, output)
        elif known.cancelled is None and known.manifest_digest != digest:
            raise SubmissionInterrupted(batch_id)

    def _is_accepted(self, batch_id: str, digest: str) -> bool:
        """Return whether a submission was accepted. Raises SubmissionReplaced if its manifest has another digest."""
        submission = self._ledger.batches.submission(batch_id)
        if submission is None or not submission.is_accepted:
            return False
        if submission.manifest_digest != digest:
            raise SubmissionReplaced(batch_id)
        return True

    def _complete(
        self,
        manifest: Manifest,
        batch_id: str,
        output: str,
        folder: Path | None,
        estimate: BatchEstimate,
        before: SubmissionRow | None,
    ) -> None:
        """Store the inputs of a created batch and its items, and accept it. Repeating it is harmless.

        `before`: its submission before this attempt.
        """
        if before and before.cancelled is None:
            self._ledger.batches.record_attempt(batch_id)
        fitted = fit_to_schema(manifest, self._models.schema(manifest.model))
        stored = self._store_manifest(batch_id, fitted, output, folder, is_repeated=before is not None)
        if before and before.cancelled is not None:
            # For `recover`, which finds the cancellation in the journal.
            self._journal.write(output, [{"do": "reopen", "states": []}])
        digest = _digest(manifest)
        if not self._load_items(batch_id, stored, estimate, digest):
            raise SubmissionReplaced(batch_id)
        if not self.start_batch(batch_id, manifest_digest=digest):
            raise SubmissionReplaced(batch_id)

    def start_batch(self, batch_id: str, *, manifest_digest: str = "", stopped: str | None = None) -> bool:
        """Accept a batch whose items are all in the ledger. `stopped`: the reason if the batch must be cancelled.

        Return False if its submission was cancelled, or it has another digest than `manifest_digest` ('': any).
        """
        if stopped:
            self._ledger.batches.set_status(batch_id, BatchState.CANCELLING, among=[BatchState.QUEUED], reason=stopped)
        if not self._ledger.batches.accept(batch_id, manifest_digest):
            return False
        self._job_queue.enqueue_once(Job.START, batch_id)
        return True

    def create(
        self,
        manifest: Manifest,
        batch_id: str,
        output: str,
        *,
        trigger: str,
        manifest_digest: str = "",
        revision: int = 1,
    ) -> bool:
        """Create a batch without items. Return False if the id exists. `start_batch` must follow."""
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
        return self._ledger.batches.open(
            row,
            self.batch_config(manifest, output),
            max_active=limits.max_active or 0,
            budget_usd=limits.budget_usd,
            manifest_digest=manifest_digest,
        )

    def batch_config(self, manifest: Manifest, output: str) -> BatchConfig:
        """Return what the items of a batch share. `output`: its folder."""
        schema = self._models.schema(manifest.model)
        return _batch_config(fit_to_schema(manifest, schema), schema, output)

    def _output_prefix(self, manifest: Manifest) -> str:
        output = manifest.output or self._output
        if not output:
            raise InvalidSettings(
                "There is no folder for outputs. Set PIPELINE_OUTPUT=s3://bucket/prefix/, or `output:` in the manifest."
            )
        return output

    def _check_absent_on_s3(self, batch_id: str, output: str) -> None:
        """Raise BatchOnlyOnS3 if S3 has a batch with this id. Its manifest and its journal must both be missing."""
        storage = self._storage
        is_on_s3 = storage.confirmed_info(join(output, MANIFEST)) or journal.is_started(storage, output)
        if is_on_s3 and self._ledger.batches.submission(batch_id) is None:
            raise _only_on_s3(batch_id, output)

    def _check_same_content(
        self, batch_id: str, manifest: Manifest, digest: str, folder: Path | None, before: str
    ) -> None:
        """Raise OtherContent if the accepted batch with this id has another manifest. `before`: its digest."""
        if before == digest:
            return
        stored = stored_manifest(self._storage, self._ledger.batches.get(batch_id).output)
        if stored is None:
            what = "what differs is not known, because its manifest.yaml is not on S3"
        else:
            fitted = fit_to_schema(manifest, self._models.schema(manifest.model))
            # The schema can name another field than at the first submission.
            fitted = replace(fitted, image_field=manifest.image_field or stored.image_field)
            what = content_difference(stored, fitted, folder)
        if not what:
            # Only the text differs, or a path; or the batch was recovered, and then it has no digest.
            return
        shown = before or (_digest(stored) if stored else "unknown")
        raise OtherContent(
            f"Batch {batch_id!r} exists with other content (manifest {shown[:_DIGEST_CHARS]} before, "
            f"{digest[:_DIGEST_CHARS]} now): {what}. Use another id for the new content."
        )

    def _store_manifest(
        self, batch_id: str, manifest: Manifest, output: str, folder: Path | None, *, is_repeated: bool
    ) -> Manifest:
        """Store image files, then the manifest. Return it with the URIs of stored images. Idempotent.

        Raises BatchOnlyOnS3 if there is the manifest of other items: then S3 reported before that there was none.
        """
        uploads = join(self._output, INPUTS) if self._output else None
        items = with_stored_images(manifest.items, self._storage, output, folder=folder, uploads=uploads)
        stored = replace(manifest, items=items)
        uri, content = join(output, MANIFEST), manifests.dump(stored)
        if is_repeated:
            if self._has_run_on_s3(output):
                # S3 reported before that there was no such batch.
                raise _only_on_s3(batch_id, output)
            # What is there is of an attempt that was not completed, perhaps with another manifest.
            self._storage.put(uri, content, "application/yaml")
        elif not self._storage.put_if_absent(uri, content, "application/yaml"):
            text = self._storage.get(uri)
            if text is None:
                message = f"{uri} exists for a write, but not for a read. Try again; `dailies doctor` tests the server."
                raise StorageError(message, retryable=True)
            if not has_same_items(text, uri, items):
                raise _only_on_s3(batch_id, output)
        journal.open_journal(self._storage, output)
        return stored

    def _has_run_on_s3(self, output: str) -> bool:
        """Return whether a batch at `output` has ended, or its journal shows that it has run."""
        if self._storage.info(join(output, RESULTS)):
            return True
        return any(entry.get("do") in _OF_A_BATCH for entry in journal.entries(self._storage, output))

    def _load_items(self, batch_id: str, manifest: Manifest, estimate: BatchEstimate, digest: str) -> bool:
        items = manifest.items
        counts = Counter(item.image for item in items if item.image and item.image.startswith("s3://"))
        self._ledger.shared_images.add(batch_id, (image for image, count in counts.items() if count > 1))
        rows = zip(items, estimate.items, strict=True)
        specs = ((item.id, item_spec(item), price.high_usd if price else None) for item, price in rows)
        return self._ledger.items.load(batch_id, specs, manifest_digest=digest)


def item_spec(item: Item) -> dict[str, Any]:
    """Return the fields of an item that the ledger stores."""
    return {"image": item.image, "prompt": item.prompt, "params": item.params}


def _only_on_s3(batch_id: str, output: str) -> BatchOnlyOnS3:
    return BatchOnlyOnS3(
        f"Batch {batch_id!r} exists at {output}, but not in the ledger. "
        f"Rebuild it with `dailies recover {output}`, or choose another --batch-id."
    )


def _batch_config(manifest: Manifest, schema: ModelSchema | None, output: str) -> BatchConfig:
    """Return what the items of a batch share. `manifest` is as `fit_to_schema` returns it."""
    image = image_field_of(manifest.image_field, schema)
    return BatchConfig(
        model=manifest.model,
        image_field=image.name if image else manifest.image_field or DEFAULT_IMAGE_FIELD,
        params=manifest.params,
        attempts=manifest.limits.attempts,
        output=output,
        deadline_s=manifest.limits.deadline_s,
        tolerated_failures=manifest.limits.tolerated_failures,
        budgeted=manifest.limits.budget_usd is not None,
        notify=manifest.notify,
        image_kind=image.kind if image else BatchConfig.image_kind,
        reuse=manifest.reuse,
        defaults=default_params(schema),
    )


def _digest(manifest: Manifest) -> str:
    """Return the digest of a manifest as it was given: it must not depend on whether the vendor's schema was known."""
    # The version before wrote the default into each manifest, and the digest must stay the same.
    given = replace(manifest, image_field=manifest.image_field or DEFAULT_IMAGE_FIELD)
    return hashlib.sha256(manifests.dump(given)).hexdigest()


def _is_refused(known: SubmissionRow, trigger: str) -> bool:
    """Return whether a person has cancelled a submission that a schedule or a trigger would start again."""
    return known.cancelled == Stop.BY_HAND and trigger.startswith(_AUTOMATIC)


def _validate_id(batch_id: str) -> str:
    if not is_batch_id(batch_id):
        raise InvalidBatchId(batch_id)
    return batch_id


def _new_id(name: str) -> str:
    return f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
