"""What is told when a batch has ended."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from support.processes import ROOT

from pipeline.domain.model import BatchRow
from pipeline.domain.states import BatchState, ItemState
from pipeline.notifications.message import Message, derived_secret, id_of, is_slack, keys_of, message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
HOOK = "https://example.com/hook"
RESULTS = "s3://bucket/la-street-1/results.json"
BEGAN = datetime(2026, 7, 1, 12, tzinfo=UTC)


def a_row() -> BatchRow:
    return BatchRow(
        id="la-street-1",
        name="la-street",
        model="minimax/image-to-video-hailuo-01-subject",
        status=BatchState.PARTIAL,
        counts={ItemState.SUCCEEDED: 48, ItemState.FAILED: 2},
        total=50,
        cost_usd=Decimal("4.32"),
        created=BEGAN,
        finished=BEGAN + timedelta(minutes=12),
        output="s3://bucket/la-street-1/",
        trigger="cli",
    )


def sent(url: str = HOOK, secret: str = SECRET, row: BatchRow | None = None) -> Message:
    return message(url, row or a_row(), RESULTS, keys_of(secret, ""), datetime.now(UTC))


def test_a_message_is_verified_as_the_standard_says() -> None:
    told = sent()
    document = Webhook(SECRET).verify(told.body, dict(told.headers))
    assert document["type"] == "batch.ended"
    assert document["timestamp"] == "2026-07-01T12:12:00Z"
    data = document["data"]
    assert (data["id"], data["status"], data["cost_usd"], data["results"]) == (
        "la-street-1",
        "partial",
        "4.32",
        RESULTS,
    )


def test_the_lines_of_the_docs_verify_it() -> None:
    text = (ROOT / "docs/notifications.md").read_text(encoding="utf-8")
    code, shell = re.search(r"```python\n(.+?)```", text, re.DOTALL), re.search(r"python -c '(.*derived.*)'\n", text)
    assert code
    assert shell
    told = sent()

    class Asked:
        headers = told.headers
        get_data = staticmethod(lambda: told.body)

    names: dict[str, Any] = {"SECRET": SECRET, "request": Asked}
    exec(code[1], names)
    assert names["message"]["data"]["id"] == "la-street-1"
    environment = {"PYTHONPATH": str(ROOT), "PIPELINE_SECRET": "first, second"}
    said = subprocess.run([sys.executable, "-c", shell[1]], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == derived_secret("first")


def test_a_changed_message_is_not_verified() -> None:
    told = sent()
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(told.body.replace(b"4.32", b"0.00"), dict(told.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(told.body, dict(told.headers))


def test_while_a_secret_is_rotated_both_are_good() -> None:
    told = sent(secret=f"{OTHER},{SECRET}")
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(told.body, dict(told.headers))


def test_the_id_is_the_same_for_the_same_end_and_another_for_the_next() -> None:
    assert id_of(a_row()) == id_of(a_row()) == sent().headers["webhook-id"]
    assert id_of(a_row()) != id_of(replace(a_row(), revision=2))


def test_without_a_secret_of_its_own_one_is_made_from_the_services() -> None:
    [key] = keys_of("", "a-secret,an-older-one")
    told = message(HOOK, a_row(), RESULTS, [key], datetime.now(UTC))
    Webhook(derived_secret("a-secret")).verify(told.body, dict(told.headers))
    assert keys_of("", "") == []


def test_slack_gets_a_line_of_text() -> None:
    row = replace(a_row(), reason="Stopped: <budget> & more")
    told = sent("https://hooks.slack.com/services/T/B/x", row=row)
    text = json.loads(told.body)["text"]
    assert text.startswith("*la-street-1* partial: 50 items, 48 succeeded, 2 failed · $4.32 · 12 min")
    assert "&lt;budget&gt; &amp; more" in text
    assert text.endswith(RESULTS)
    assert "webhook-signature" not in told.headers


@pytest.mark.parametrize(
    ("url", "slack"),
    [
        ("https://hooks.slack.com/services/x", True),
        ("https://discord.com/api/webhooks/1/x/slack", True),
        ("https://hooks.slack.com.evil.example/services/x", False),
        ("https://example.com/hook", False),
    ],
)
def test_slack_is_known_by_its_address(url: str, slack: bool) -> None:
    assert is_slack(url) is slack
