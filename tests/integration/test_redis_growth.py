"""Nothing in Redis grows without a bound: an ended batch leaves a row, every other key has a bound or a TTL."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis import Redis
from support.archiving import archiving_service
from support.ended_batch import an_ended_batch

from jobs.cron import scheduler
from pipeline.batches.job_queue import Job
from pipeline.batches.service import Service
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.schedules.occurrences import Occurrence
from pipeline.schedules.store import Did, Record, ScheduleStore
from pipeline.storage.s3 import ObjectInfo, Storage
from pipeline.triggers.object_version import ObjectVersion
from pipeline.triggers.store import TriggerStore


@pytest.fixture
def service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str) -> Service:
    return archiving_service(redis_url, storage, s3_server, bucket)


def fill(service: Service, number: int) -> None:
    """Use every part of the ledger once more: each time with other names."""
    ledger, now = service.ledger, datetime.now(UTC)
    batch = f"b{number}"
    an_ended_batch(service, batch)
    ledger.share_links.create(batch, lifetime=timedelta(days=90), approved_only=False, who="anna")
    ledger.previews.record(batch, f"{number}.webp", is_made=True)
    ledger.previews.request(batch, ["good"])
    ledger.shared_images.add(batch, ["s3://b/1.jpg"])
    ledger.account.add_spend(Decimal("0.01"))
    ledger.model_cache.put(f"m/{number}", {})
    ledger.login_attempts.record_failure(f"10.0.0.{number}", "wrong")
    ledger.live_checks.open(f"check-{number}", refusals=0)
    ledger.sessions.start("mark")
    ledger.sign_in_codes.create("mark")
    ledger.counters.count_refused_job()
    service.job_queue.enqueue_in(Job.FINISH, 3.0, batch)
    triggers, version = TriggerStore(ledger.redis), ObjectVersion("bucket", f"{number}.jpg", "v")
    triggers.record_objects(batch, [version])
    triggers.mark_reported(batch)
    triggers.record_last_batch(f"rule-{number}", batch)
    triggers.count_batch(f"rule-{number}", batch, 10)
    triggers.record_deferred(f"rule-{number}", batch, 1, 1)
    triggers.record_listed(f"rule-{number}", ObjectInfo(version.uri, 1, "", "e"), 1.0)
    schedules, name = ScheduleStore(ledger.redis), f"schedule-{number}"
    schedules.record_occurrences(name, None, now, [Occurrence(now, now, False)], None)
    schedules.record_manual_start(name, batch, now)
    schedules.record_occurrences(name, now, now + timedelta(minutes=1), [], Record(Did.SKIPPED, now, now))


def lasting(ledger: Ledger) -> Counter[str]:
    """Return the keys without a TTL, with how many members each has."""
    sizes: Counter[str] = Counter()
    measure = {"hash": "hlen", "zset": "zcard", "set": "scard", "list": "llen", "string": "strlen"}
    for key in ledger.redis.scan_iter("dailies:*"):
        if ledger.redis.ttl(key) == -1:
            sizes[key.removeprefix("dailies:")] = getattr(ledger.redis, measure[ledger.redis.type(key)])(key)
    return sizes


def test_used_once_more_redis_keeps_a_row_more_and_nothing_else(service: Service) -> None:
    ledger = service.ledger

    def use(numbers: range) -> Counter[str]:
        for number in numbers:
            fill(service, number)
        while found := service.retention.find():
            for batch_id in found:
                service.retention.archive(batch_id)
        ledger.retention.trim_spend()
        return lasting(ledger)

    before, after = use(range(2)), use(range(2, 5))
    rows = {f"batch:b{number}" for number in range(2, 5)}
    assert after.keys() - before.keys() == rows
    # Times of steps are counted in buckets: a slow machine uses more of them.
    counters = before.pop("figures"), after.pop("figures")
    assert max(counters) < 150
    assert {key: after[key] - before[key] for key in before if after[key] != before[key]} == {"batches": 3}
    assert sum(ledger.redis.memory_usage(f"dailies:{row}") for row in rows) < 3 * 1500


def test_the_charges_of_old_days_are_added_up(ledger: Ledger) -> None:
    today = int(ledger.redis.time()[0]) // 86_400
    ledger.redis.hset("dailies:spend", mapping={str(today - age): 10**10 for age in range(500)})
    total = ledger.counters.read().spend_usd
    for _ in range(2):
        ledger.retention.trim_spend()
        assert ledger.redis.hlen("dailies:spend") == 401
        assert ledger.counters.read().spend_usd == total
        assert [usd for _, usd in ledger.account.spend(30)] == [Decimal("0.01")] * 30


def test_failed_jobs_of_the_scheduler_are_kept_for_a_day(redis_url: str) -> None:
    jobs = scheduler(Redis.from_url(redis_url), sweep_every_s=30).get_jobs()
    assert [(job.job_options["result_ttl"], job.job_options["failure_ttl"]) for job in jobs] == [(0, 86_400)] * 2
