"""Runs that are leased, but were not posted: the ledger takes them back, so that none of them counts as lost.

The ledger makes a run unknown whose lease expires after it was marked as posting. The worker that did not post it
reports that, repeatedly if Redis did not store it.
"""

from __future__ import annotations

import structlog

from jobs.apply_outcome import apply_post
from jobs.context import Context
from jobs.leases import run_fields
from jobs.run_outcomes import PostOutcome
from pipeline.ledger.records import SubmissionLease

log = structlog.get_logger()


def give_back(ctx: Context, lease: SubmissionLease, outcome: PostOutcome) -> None:
    """Apply the outcome of a run that the vendor did not accept. Raises nothing: `retry_give_back` goes on."""
    try:
        if not apply_post(ctx, lease, outcome):
            # The lease has expired meanwhile.
            ctx.service.ledger.runs.revert_unposted(lease.run)
    except Exception:
        log.exception("run_not_given_back", **run_fields(lease))
        ctx.unposted.append((lease, outcome))


def retry_give_back(ctx: Context) -> None:
    """Give back the runs of this process for which that failed before."""
    for _ in range(len(ctx.unposted)):
        give_back(ctx, *ctx.unposted.popleft())
