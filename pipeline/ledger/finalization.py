"""The end of a batch: leases for writing its results."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from pipeline.domain.states import BatchState
from pipeline.ledger.records import FinalizationResult
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.times import ms


class FinalizationStore:
    """Lets one worker at a time write the results of a batch. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts

    def claim(self, batch_id: str, *, lease_s: float) -> str | None:
        """Lease the writing of a batch's results. Returns the lease; None if they are not due or leased elsewhere."""
        lease = uuid4().hex
        return lease if self._scripts.run("claim_finalization", batch_id, ms(lease_s), lease) == 1 else None

    def renew(self, batch_id: str, lease: str, *, lease_s: float) -> bool:
        """Renew the lease for `lease_s` from now. Returns False if it was lost."""
        return bool(self._scripts.run("renew_finalization", batch_id, ms(lease_s), lease) == 1)

    def rewrite(self, batch_id: str) -> bool:
        """Make the results of an ended batch due again. Return False if they are, or the batch has not ended."""
        return bool(self._scripts.run("rewrite_results", batch_id) == 1)

    def complete(
        self,
        batch_id: str,
        lease: str,
        status: BatchState,
        finished: datetime,
        revision: int,
        *,
        notify: bool = False,
    ) -> FinalizationResult:
        """Record that `revision` of the results is written. `notify`: send a notification if the batch ends by this."""
        finished_ms = ms(finished.timestamp())
        args = (batch_id, lease, status, finished_ms, revision, int(notify))
        return FinalizationResult(self._scripts.run("complete_finalization", *args))
