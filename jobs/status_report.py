"""`report`: beside the objects that started a batch stands how it ended, and where its results are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import structlog

from jobs.context import Context, context
from pipeline.domain.model import BatchRow
from pipeline.errors import StorageError
from pipeline.triggers.object_version import Drop
from pipeline.triggers.status_files import Statuses
from pipeline.triggers.store import TriggerLedger

log = structlog.get_logger()

_AT_ONCE = 8
_MOST_TRIES = 8
_FIRST_WAIT_S = 5.0


def status_report(batch_id: str, tries: str = "0") -> None:
    """Write the status of every drop of a batch that has ended. Doing it twice changes nothing."""
    ctx = context()
    ctx.waker.begun("status_report", batch_id)
    batch = ctx.ledger.batch(batch_id)
    if batch.finished is None:
        # It was opened again meanwhile: its next end is told.
        return
    drops = TriggerLedger.connect(ctx.settings.redis_url).drops(batch_id)
    with ThreadPoolExecutor(_AT_ONCE) as hands:
        told = list(hands.map(lambda drop: _tell(ctx, drop, batch), drops))
    if all(told):
        log.info("batch_reported", batch=batch_id, objects=len(drops))
    elif int(tries) < _MOST_TRIES:
        ctx.waker.wake_in("status_report", _FIRST_WAIT_S * 2 ** int(tries), batch_id, str(int(tries) + 1))


def _tell(ctx: Context, drop: Drop, batch: BatchRow) -> bool:
    try:
        Statuses(ctx.storage).ended(drop, batch, ctx.service.results_uri(batch))
    except StorageError as error:
        log.warning("object_not_told", batch=batch.id, object=drop.uri, error=str(error))
        return not error.retryable
    return True
