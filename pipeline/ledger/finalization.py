"""The end of a batch: which worker writes its results."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from pipeline.domain.states import BatchState
from pipeline.ledger.records import Finished, ms
from pipeline.ledger.scripts import ScriptRunner


class FinalizationStore:
    """Leases for writing the results of a batch. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def claim(self, batch_id: str, *, lease_s: float) -> str | None:
        """Claim the writing of a batch's results. The lease, or None when it is not to be written by us now."""
        lease = uuid4().hex
        return lease if self._scripts.run("claim_finish", batch_id, ms(lease_s), lease) == 1 else None

    def renew(self, batch_id: str, lease: str, *, lease_s: float) -> bool:
        """Keep the claim for `lease_s` from now. False when it was lost."""
        return bool(self._scripts.run("renew_finish", batch_id, ms(lease_s), lease) == 1)

    def complete(
        self,
        batch_id: str,
        lease: str,
        status: BatchState,
        finished: datetime,
        revision: int,
        *,
        notify: bool = False,
    ) -> Finished:
        """The results are written, as `revision`. `notify`: somebody is to be told when that is the batch's end."""
        moment_ms = int(finished.timestamp() * 1000)
        return Finished(self._scripts.run("finish_batch", batch_id, lease, status, moment_ms, revision, int(notify)))
