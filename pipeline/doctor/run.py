"""Runs all checks."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.doctor import access, account, public_url, redis_server, schedules, storage, triggers, vendor, workers
from pipeline.doctor.findings import Finding, Severity, note, one_line, wrong
from pipeline.errors import DailiesError, Unreachable
from pipeline.settings import Settings

Check = Callable[[Settings], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "Redis": redis_server.check_redis,
    "workers": workers.check_workers,
    "S3": storage.check_bucket,
    "Wiro": vendor.check_account,
    "account": account.check_submissions,
    "outputs": vendor.check_fetch_hosts,
    "callbacks": public_url.check_public_url,
    "API": access.check_api_token,
    "schedules": schedules.check_schedules,
    "triggers": triggers.check_triggers,
}
"""{subject: check}. A check is independent of all others, but for Redis, which is the first one."""


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Yield the findings of all checks. They start no run at the vendor and leave no object on S3.

    A check that raises an error has found a problem. The others go on.
    """
    problems: dict[str, str] = {}
    for subject, check in CHECKS.items():
        for finding in _findings(subject, check, settings, problems):
            if finding.severity is Severity.WRONG:
                problems[finding.message] = finding.subject
            yield finding


def _findings(subject: str, check: Check, settings: Settings, problems: dict[str, str]) -> Iterator[Finding]:
    """Yield the findings of a check. `problems`: {message: subject} of what was found before."""
    try:
        yield from check(settings)
    except DailiesError as error:
        message = one_line(error)
        if message in problems or (isinstance(error, Unreachable) and "Redis" in problems.values()):
            yield note(subject, f"not checked, because of the problem of {problems.get(message, 'Redis')}")
        else:
            yield wrong(subject, message)
    except Exception as error:
        yield wrong(
            subject,
            f"The check itself failed: {type(error).__name__} in {_place(error)}.",
            "Check the settings of this part. If they are correct, report this line as a bug.",
        )


def _place(error: Exception) -> str:
    """Return the file and line that raised an error. Its message may contain a secret."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
