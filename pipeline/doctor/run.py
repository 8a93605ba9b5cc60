"""Runs all checks."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.doctor import access, public_url, redis_server, schedules, storage, triggers, vendor, workers
from pipeline.doctor.findings import Finding, wrong
from pipeline.errors import InvalidSettings, Unreachable
from pipeline.settings import Settings

_CHECKS = (
    redis_server.check_redis,
    workers.check_workers,
    storage.check_bucket,
    vendor.check_account,
    vendor.check_fetch_hosts,
    public_url.check_public_url,
    access.check_api_token,
    schedules.check_schedules,
    triggers.check_triggers,
)


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Yield the findings of all checks. They start no run at the vendor and leave no object on S3."""
    invalid: set[str] = set()
    for check in _CHECKS:
        try:
            yield from check(settings)
        except Unreachable:
            # check_redis reports this.
            continue
        except InvalidSettings as error:
            # Several checks use the same setting.
            if str(error) not in invalid:
                yield wrong("settings", str(error))
            invalid.add(str(error))
