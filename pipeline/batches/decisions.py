"""Decisions of people in the write-ahead journal, so that `recover` knows them."""

from __future__ import annotations

import structlog

from pipeline.errors import StorageError
from pipeline.ledger.ledger import Ledger
from pipeline.storage.journal import Entry, Journal

log = structlog.get_logger()


class DecisionLog:
    """Writes to the journal what a person decided about a batch."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger = ledger
        self._journal = journal

    def write(self, batch_id: str, entry: Entry) -> None:
        """Write one entry. If S3 is unavailable, the decision holds all the same and a warning is logged."""
        try:
            self._journal.write(self._ledger.batches.get(batch_id).output, [entry])
        except StorageError as error:
            log.warning("not_in_journal", batch=batch_id, entry=entry["do"], error=str(error))
