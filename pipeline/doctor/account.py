"""The account at the vendor as the ledger has it: whether runs are submitted now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.domain.formatting import when
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings

_SUBJECT = "account"


def check_submissions(settings: Settings) -> Iterator[Finding]:
    """Check that no pause, backoff or ceiling keeps runs from being submitted. Raises Unreachable."""
    ledger = Ledger.connect(settings.redis_url)
    ledger.check_schema()
    account = ledger.account.get()
    if account.paused_reason:
        fix = "Remove the cause, then run `dailies resume`."
        if account.probe_at:
            fix += f" A single run tries it at {when(account.probe_at)}, and ends the pause if it is accepted."
        yield wrong(_SUBJECT, f"The account is paused, nothing is submitted: {account.paused_reason}", fix)
    elif account.day_notice:
        yield note(_SUBJECT, account.day_notice)
    elif account.backoff_until and account.backoff_until > datetime.now(UTC):
        reason = account.backoff_reason or "the vendor refused runs"
        yield note(_SUBJECT, f"Nothing is submitted until {when(account.backoff_until)}: {reason}")
    else:
        yield ok(_SUBJECT, "runs are submitted: no pause, no backoff")
