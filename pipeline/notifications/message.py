"""What is told when a batch has ended: Standard Webhooks messages, and a line of text for Slack. Pure.

https://www.standardwebhooks.com: a message has an id that stays the same however often it is sent, a timestamp of
the sending, and a signature over both and the body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from pipeline.batches.documents import BatchStatus
from pipeline.domain.formatting import dollars, duration, pluralize
from pipeline.domain.model import BatchRow
from pipeline.domain.results import timestamp

EVENT = "batch.ended"
_SLACK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})


@dataclass(frozen=True)
class Message:
    """One message as it is sent."""

    headers: Mapping[str, str]
    body: bytes


def message(url: str, row: BatchRow, results: str, keys: Sequence[Webhook], sent: datetime) -> Message:
    """What `url` is told of a batch that has ended, `results` being where its results are.

    Signed with each of `keys`: while a secret is rotated both are good.
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
    """The message's id: a batch that was opened again and ended again is another message."""
    return "msg_" + hashlib.sha256(f"{row.id} {row.revision}".encode()).hexdigest()[:32]


def keys_of(secret: str, session_secret: str) -> list[Webhook]:
    """The keys that sign. `secret` is `whsec_…`, or several with commas; '' derives one from `session_secret`."""
    texts = [text.strip() for text in secret.split(",") if text.strip()]
    if texts:
        return [Webhook(text) for text in texts]
    first = session_secret.partition(",")[0].strip()
    return [Webhook(derived_secret(first))] if first else []


def derived_secret(secret: str) -> str:
    """The notification secret that belongs to a PIPELINE_SECRET."""
    return "whsec_" + base64.b64encode(hmac.digest(secret.encode(), b"dailies.notify", "sha256")).decode()


def is_slack(url: str) -> bool:
    """Whether the address is a Slack webhook, or one that takes what Slack's take."""
    parts = urlsplit(url)
    return parts.hostname in _SLACK_HOSTS or parts.path.endswith("/slack")


def slack_text(row: BatchRow, results: str) -> str:
    """The end of a batch in two lines."""
    took = (row.finished - row.created).total_seconds() if row.finished else 0
    counts = ", ".join(f"{number:,} {state}" for state, number in row.counts.items()) or "nothing to do"
    total = pluralize(row.total, "item")
    text = f"*{row.id}* {row.status}: {total}, {counts} · {dollars(row.cost_usd)} · {duration(took)}"
    reason = f"\n{row.reason}" if row.reason else ""
    return _escaped(f"{text}{reason}\n{results}")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
