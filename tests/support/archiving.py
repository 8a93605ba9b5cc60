"""A service that archives every batch as soon as it has ended, and what a batch has left in Redis and on S3."""

from __future__ import annotations

from typing import Any

from pipeline.batches.service import Service
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from support.ended_batch import documents

AT_ONCE = 1e-9
"""`keep_days` of a batch that leaves Redis when it has ended."""


def archiving_service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str) -> Service:
    """Return a service that archives every ended batch."""
    settings = Settings(
        redis_url=redis_url,
        s3_endpoint=s3_server.endpoint,
        output=bucket,
        wiro_api_url="http://127.0.0.1:1",
        keep_days=AT_ONCE,
    )
    return Service.connect(settings, storage=storage)


def archive(service: Service) -> None:
    """Archive the batches that are due, once."""
    for batch_id in service.retention.find():
        service.retention.archive(batch_id)


def keys_of(ledger: Ledger) -> set[str]:
    """Return the keys of batches and items, without the prefix."""
    found = {key.removeprefix("dailies:") for key in ledger.redis.scan_iter("dailies:*")}
    return {key for key in found if key.startswith(("batch:", "item:"))}


def journal_of(service: Service, folder: str) -> list[str]:
    """Return the names of the objects of a batch's journal."""
    return [info.uri.rpartition("/")[2] for info in service.storage.list(f"{folder}journal/")]


def whole(service: Service) -> dict[str, Any]:
    """Return all that the ledger has of the batch `b`, without its timeline and when it was archived."""
    ledger = service.ledger
    hashes = {}
    for key in sorted(ledger.redis.scan_iter("dailies:item:b:*")):
        known = ledger.redis.hmget(key, "state", "attempt", "task", "paid", "charged", "found_by", "takes", "first")
        hashes[key] = [value or None for value in known]
    row = ledger.batches.get("b")
    return {
        "row": row,
        "items": documents(ledger.items.stream("b")),
        "hashes": hashes,
        "order": ledger.redis.lrange("dailies:batch:b:order", 0, -1),
        "reviews": ledger.redis.hgetall("dailies:batch:b:reviews"),
        "counts": ledger.queries.review_counts("b"),
        "to_review": ledger.queries.to_review_count("b"),
        "causes": ledger.queries.failure_causes("b"),
        "reserved": ledger.redis.hget("dailies:batch:b", "reserved"),
    }
