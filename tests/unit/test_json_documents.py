"""The JSON documents that the CLI and the API share."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from pipeline.batches.json_documents import Account, Batch, BatchStatus, Item
from pipeline.domain.model import BatchRow, ItemRow, Review
from pipeline.domain.results import item_document
from pipeline.ledger.records import AccountRow

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROW = BatchRow("b", "la", "m/n", "running", {"pending": 2}, 2, Decimal("0.270"), CREATED, None, "s3://bucket/b/", "cli")


def test_the_status_of_a_batch_has_the_fields_of_the_contract_in_order() -> None:
    assert list(BatchStatus.of(ROW).as_json().items()) == [
        ("id", "b"),
        ("name", "la"),
        ("status", "running"),
        ("counts", {"pending": 2}),
        ("total", 2),
        ("cost_usd", "0.27"),
        ("created", "2026-01-02T03:04:05Z"),
        ("finished", None),
        ("output", "s3://bucket/b/"),
    ]


def test_a_batch_is_its_status_and_more() -> None:
    status, batch = BatchStatus.of(ROW).as_json(), Batch.of(ROW).as_json()
    assert status.items() <= batch.items()
    assert batch["results"] is None
    assert Batch.of(replace(ROW, status="succeeded", finished=CREATED)).results == "s3://bucket/b/results.json"


def test_an_item_is_a_line_of_the_results() -> None:
    plain = ItemRow("i", "failed", None, "p", error="no")
    reviewed = replace(plain, review=Review("approved", "good"), take_of="j", elapsed_s=Decimal("1.5"))
    for row in (plain, reviewed):
        assert json.dumps(Item.of(row).as_json()) == json.dumps(item_document(row))


def test_the_account_has_the_same_fields_everywhere() -> None:
    row = AccountRow(3, 10, "No balance.", None, CREATED, "HTTP 429")
    assert Account.of(row).as_json() == {
        "active": 3,
        "concurrency_limit": 10,
        "paused_reason": "No balance.",
        "backoff_until": "2026-01-02T03:04:05Z",
        "backoff_reason": "HTTP 429",
        "day_limit_usd": None,
        "day_spend_usd": "0",
        "waits_until": None,
    }
