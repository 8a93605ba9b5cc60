"""Decisions of people in the write-ahead journal, for `recover`."""

from __future__ import annotations

import structlog

from pipeline.errors import StorageError
from pipeline.ledger.ledger import Ledger
from pipeline.storage.journal import Entry, Journal

log = structlog.get_logger()


class DecisionLog:
    """Records decisions in the journal."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger = ledger
        self._journal = journal

    def write(self, batch_id: str, entry: Entry) -> None:
        """Write one entry. If S3 is unavailable, the decision stays valid and a warning is logged."""
        try:
            self._journal.write(self._ledger.batches.get(batch_id).output, [entry])
        except StorageError as error:
            log.warning("decision_not_journaled", batch=batch_id, entry=entry["do"], error=str(error))
