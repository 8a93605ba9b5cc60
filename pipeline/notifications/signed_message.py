"""The notification that a batch has ended: a Standard Webhooks message, or text for Slack. Pure.

https://www.standardwebhooks.com: a message has an id that is the same for each attempt, the time of the attempt, and a
signature over both and the body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from standardwebhooks import Webhook

from pipeline.batches.json_documents import BatchStatus
from pipeline.domain.formatting import dollars, duration, pluralize
from pipeline.domain.model import BatchRow
from pipeline.domain.results import timestamp
from pipeline.domain.web_address import InvalidAddress, parse

EVENT = "batch.ended"
_SLACK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})


@dataclass(frozen=True)
class Message:
    """The headers and body of one request."""

    headers: Mapping[str, str]
    body: bytes


def message(url: str, row: BatchRow, results: str, keys: Sequence[Webhook], sent: datetime) -> Message:
    """Return the message for `url` about a batch that has ended. `results`: the address of its results.

    It is signed with each of `keys`, so that a secret can be rotated.
    """
    message_id = id_of(row)
    if is_slack(url):
        body = json.dumps({"text": slack_text(row, results)}, ensure_ascii=False)
        return Message({"Content-Type": "application/json"}, body.encode("utf-8", "replace"))
    document = {
        "type": EVENT,
        "timestamp": timestamp(row.finished),
        "data": {**BatchStatus.of(row).as_json(), "revision": row.revision, "reason": row.reason, "results": results},
    }
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": " ".join(key.sign(message_id, sent, body) for key in keys),
    }
    return Message(headers, body.encode())


def id_of(row: BatchRow) -> str:
    """Return the message's id. A batch that is retried and ends again has a new one."""
    return "msg_" + hashlib.sha256(f"{row.id} {row.revision}".encode()).hexdigest()[:32]


def keys_of(secret: str, session_secret: str) -> list[Webhook]:
    """Return the signing keys. `secret`: one or more `whsec_…` with commas; '' derives one from `session_secret`."""
    texts = [text.strip() for text in secret.split(",") if text.strip()]
    if texts:
        return [Webhook(text) for text in texts]
    first = session_secret.partition(",")[0].strip()
    return [Webhook(derived_secret(first))] if first else []


def derived_secret(secret: str) -> str:
    """Return the notification secret that is derived from a PIPELINE_SECRET."""
    return "whsec_" + base64.b64encode(hmac.digest(secret.encode(), b"dailies.notify", "sha256")).decode()


def is_slack(url: str) -> bool:
    """Return whether the address accepts Slack messages."""
    try:
        address = parse(url)
    except InvalidAddress:
        return False
    return address.host in _SLACK_HOSTS or address.path.endswith("/slack")


def slack_text(row: BatchRow, results: str) -> str:
    """Return the end of a batch as two or three lines of text."""
    elapsed_s = row.working_s(row.finished) if row.finished else 0
    counts = ", ".join(f"{number:,} {state}" for state, number in row.counts.items()) or "no items"
    total = pluralize(row.total, "item")
    text = f"*{row.id}* {row.status}: {total}, {counts} · {dollars(row.cost_usd)} · {duration(elapsed_s)}"
    reason = f"\n{row.reason}" if row.reason else ""
    return _escape(f"{text}{reason}\n{results}")


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
