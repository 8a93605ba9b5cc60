"""The notification that a batch has ended."""

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
from pipeline.notifications.signed_message import Message, derived_secret, id_of, is_slack, keys_of, message

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


def test_a_message_verifies_with_the_standard_library() -> None:
    notification = sent()
    document = Webhook(SECRET).verify(notification.body, dict(notification.headers))
    assert document["type"] == "batch.ended"
    assert document["timestamp"] == "2026-07-01T12:12:00Z"
    data = document["data"]
    assert (data["id"], data["status"], data["cost_usd"], data["results"]) == (
        "la-street-1",
        "partial",
        "4.32",
        RESULTS,
    )


def test_the_code_in_the_docs_verifies_a_message() -> None:
    text = (ROOT / "docs/notifications.md").read_text(encoding="utf-8")
    code, shell = re.search(r"```python\n(.+?)```", text, re.DOTALL), re.search(r"python -c '(.*derived.*)'\n", text)
    assert code
    assert shell
    notification = sent()

    class Request:
        headers = notification.headers
        get_data = staticmethod(lambda: notification.body)

    names: dict[str, Any] = {"SECRET": SECRET, "request": Request}
    exec(code[1], names)
    assert names["message"]["data"]["id"] == "la-street-1"
    environment = {"PYTHONPATH": str(ROOT), "PIPELINE_SECRET": "first, second"}
    shell_output = subprocess.run(
        [sys.executable, "-c", shell[1]], env=environment, capture_output=True, text=True, check=True
    )
    assert shell_output.stdout.strip() == derived_secret("first")


def test_a_changed_message_does_not_verify() -> None:
    notification = sent()
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(notification.body.replace(b"4.32", b"0.00"), dict(notification.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(notification.body, dict(notification.headers))


def test_while_a_secret_is_rotated_both_secrets_verify() -> None:
    notification = sent(secret=f"{OTHER},{SECRET}")
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(notification.body, dict(notification.headers))


def test_the_message_id_depends_on_batch_and_revision() -> None:
    assert id_of(a_row()) == id_of(a_row()) == sent().headers["webhook-id"]
    assert id_of(a_row()) != id_of(replace(a_row(), revision=2))


def test_without_a_notification_secret_it_is_derived_from_the_services() -> None:
    [key] = keys_of("", "a-secret,an-older-one")
    notification = message(HOOK, a_row(), RESULTS, [key], datetime.now(UTC))
    Webhook(derived_secret("a-secret")).verify(notification.body, dict(notification.headers))
    assert keys_of("", "") == []


def test_slack_receives_text() -> None:
    row = replace(a_row(), reason="Stopped: <budget> & more")
    notification = sent("https://hooks.slack.com/services/T/B/x", row=row)
    text = json.loads(notification.body)["text"]
    assert text.startswith("*la-street-1* partial: 50 items, 48 succeeded, 2 failed · $4.32 · 12 min")
    assert "&lt;budget&gt; &amp; more" in text
    assert text.endswith(RESULTS)
    assert "webhook-signature" not in notification.headers


@pytest.mark.parametrize(
    ("url", "slack"),
    [
        ("https://hooks.slack.com/services/x", True),
        ("https://discord.com/api/webhooks/1/x/slack", True),
        ("https://hooks.slack.com.evil.example/services/x", False),
        ("https://example.com/hook", False),
    ],
)
def test_slack_is_recognized_by_its_address(url: str, slack: bool) -> None:
    assert is_slack(url) is slack
