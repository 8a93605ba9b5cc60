"""Items of batches with `reuse: true`: outputs that were bought before are copied, not bought.

An item gets the outputs of another one in the ledger first, and in the journal: then it is `collecting`. The `collect`
job copies them under a lease, as it copies those of a run. If they are missing, the item is pending again and is run.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import structlog

from jobs.apply_outcome import apply_poll, apply_post
from jobs.context import Context
from jobs.leases import run_fields
from jobs.output_copy import copy_stored
from jobs.run_outcomes import classify_post, classify_reuse, classify_reuse_error, classify_unposted
from jobs.unposted_runs import give_back
from pipeline.batches.job_queue import Job
from pipeline.batches.reuse_keys import Identities, image_identities, reuse_key
from pipeline.domain.chunks import chunked
from pipeline.domain.results import row_from_document
from pipeline.domain.states import ItemState
from pipeline.errors import DamagedRecord, NoSuchBatch, StorageError, Unreachable
from pipeline.ledger.records import BatchConfig, PollLease, Reused, Source, SubmissionLease
from pipeline.storage.journal import Entry

_CHUNK = 500
_MAX_SEARCH_S = 120.0

log = structlog.get_logger()


def reuse_pending(ctx: Context, batch_id: str) -> None:
    """Reuse outputs for the pending items of a batch, before money, slots or a pause matter. May be repeated.

    It ends after two minutes: the rest is searched for when the items are leased.
    """
    config = ctx.batch_config(batch_id)
    rows = (row for row in ctx.service.ledger.items.stream(batch_id, {ItemState.PENDING}) if row.take_of is None)
    ends = time.monotonic() + _MAX_SEARCH_S
    for chunk in chunked(rows, _CHUNK):
        if time.monotonic() > ends:
            return
        images = _images(ctx, batch_id, config, (row.image for row in chunk))
        digests = [(row.id, key) for row in chunk if (key := reuse_key(config, row, images))]
        _record(ctx, batch_id, config, ctx.service.ledger.reusable.assign_to_pending(batch_id, digests))


def reuse_leased(ctx: Context, leases: Sequence[SubmissionLease]) -> list[SubmissionLease]:
    """Reuse outputs for leased items. Return those that must be run, with the digests of their runs."""
    by_batch: defaultdict[str, list[SubmissionLease]] = defaultdict(list)
    for lease in leases:
        by_batch[lease.run.batch].append(lease)
    left: list[SubmissionLease] = []
    for batch_id, group in by_batch.items():
        try:
            left += _reuse_group(ctx, batch_id, group)
        except Unreachable:
            raise
        except Exception as error:
            # The other batches go on.
            for lease in group:
                log.exception("run_not_posted", **run_fields(lease))
                give_back(ctx, lease, classify_unposted(lease, error, random_share=random.random()))
    return left


def copy_bought(ctx: Context, lease: PollLease, source: Source) -> None:
    """Copy the outputs of the item `source`, and end the item of `lease`. May be repeated."""
    config = ctx.batch_config(lease.run.batch)
    outputs = row_from_document({**source.outcome, "id": "", "status": ""}).outputs
    try:
        copies = copy_stored(ctx.service.storage, config.output, lease.run.item, outputs)
    except StorageError as error:
        log.warning("copy_failed", batch=lease.run.batch, item=lease.run.item, error=str(error))
        apply_poll(ctx, lease, classify_reuse_error(lease, source, error, random_share=random.random()))
        return
    if apply_poll(ctx, lease, classify_reuse(source, copies)) and copies:
        ctx.service.previews.request(lease.run.batch, lease.run.item)


def _reuse_group(ctx: Context, batch_id: str, leases: Sequence[SubmissionLease]) -> list[SubmissionLease]:
    try:
        config = ctx.batch_config(batch_id)
    except (NoSuchBatch, DamagedRecord):
        return list(leases)
    try:
        images = _images(ctx, batch_id, config, (lease.image for lease in leases))
    except Unreachable:
        raise
    except Exception:
        if config.reuse:
            raise
        # They are run, and no other item can reuse their outputs.
        log.exception("runs_not_identified", batch=batch_id, items=len(leases))
        return list(leases)
    left: list[SubmissionLease] = []
    for lease in leases:
        image = images.get(lease.image or "")
        if config.reuse and isinstance(image, StorageError):
            # To buy it now could mean to buy it again.
            outcome = classify_post(lease, image, attempts_allowed=config.attempts, random_share=random.random())
            apply_post(ctx, lease, outcome)
        else:
            left.append(replace(lease, reuse_key=reuse_key(config, lease, images)))
    if not config.reuse:
        return left
    wanted = [lease for lease in left if lease.reuse_key and not lease.is_take]
    reused = _record(ctx, batch_id, config, ctx.service.ledger.reusable.assign_to_leased(batch_id, wanted))
    return [lease for lease in left if lease.run.item not in reused]


def _images(ctx: Context, batch_id: str, config: BatchConfig, images: Iterable[str | None]) -> Identities:
    """Return what identifies images. Of one that was uploaded for the whole batch, it is the version at the upload."""
    distinct = list(dict.fromkeys(image for image in images if image))
    outputs = [config.output, *filter(None, [ctx.service.settings.output])]
    uploaded = ctx.service.ledger.shared_images.etags(batch_id, (one for one in distinct if one.startswith("s3://")))
    return image_identities(distinct, ctx.service.storage, outputs, etags=uploaded)


def _record(ctx: Context, batch_id: str, config: BatchConfig, assigned: Sequence[Reused | None]) -> Collection[str]:
    """Record in the journal what is reused: a recovery must not buy it. Enqueue the copies. Return the items."""
    reused = [one for one in assigned if one]
    if not reused:
        return ()
    ctx.service.job_queue.enqueue_once(Job.COLLECT)
    log.info("outputs_reused", batch=batch_id, items=len(reused))
    try:
        ctx.service.journal.write(config.output, [_entry(one) for one in reused])
    except StorageError as error:
        log.warning("reuse_not_journaled", batch=batch_id, items=len(reused), error=str(error))
    return {one.run.item for one in reused}


def _entry(reused: Reused) -> Entry:
    run, source = reused.run, reused.source
    outcome = {**source.outcome, "status": ItemState.SUCCEEDED}
    reuse = {"reuse_key": reused.digest, "reused_from": source.item, "task": source.task_id, "outcome": outcome}
    return {"do": "reuse", "item": run.item, "attempt": run.attempt, **reuse}
