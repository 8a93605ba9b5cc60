"""Links that show the gallery of a batch to people without a token, until they expire or are revoked."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.ledger.keys import share_links_key
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import NOT_DECODED
from pipeline.ledger.times import server_time

MAX_LIFETIME = timedelta(days=90)
MAX_LINKS = 20
"""Active links of one batch."""


@dataclass(frozen=True)
class ShareLink:
    """A link to the gallery of a batch. `who`: the name of the token of the person who made it."""

    id: str
    batch_id: str
    is_approved_only: bool
    who: str
    expires: datetime


class ShareLinkStore:
    """Stores the links of batches. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def create(self, batch_id: str, *, lifetime: timedelta, approved_only: bool, who: str) -> ShareLink | None:
        """Create a link for at most MAX_LIFETIME; None if the batch has MAX_LINKS active ones."""
        if len(self.active(batch_id)) >= MAX_LINKS:
            return None
        expires = server_time(self._redis) + min(lifetime, MAX_LIFETIME)
        link = ShareLink(secrets.token_hex(16), batch_id, approved_only, who, expires)
        text = json.dumps({"approved": approved_only, "who": who, "expires": int(expires.timestamp() * 1000)})
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(share_links_key(batch_id), link.id, text)
            pipe.expire(share_links_key(batch_id), MAX_LIFETIME)
            pipe.execute()
        return link

    def active(self, batch_id: str) -> list[ShareLink]:
        """Return the links of a batch that have not expired, the first to expire first. Those that have are deleted."""
        stored, now = self._redis.hgetall(share_links_key(batch_id)), server_time(self._redis)
        links = [link for link_id, text in stored.items() if (link := _decoded(batch_id, link_id, text))]
        active = [link for link in links if link.expires > now]
        if expired := stored.keys() - {link.id for link in active}:
            self._redis.hdel(share_links_key(batch_id), *expired)
        return sorted(active, key=lambda link: link.expires)

    def get(self, batch_id: str, link_id: str) -> ShareLink | None:
        """Return a link; None if it has expired, was revoked, or never was."""
        text = self._redis.hget(share_links_key(batch_id), link_id)
        link = _decoded(batch_id, link_id, text) if text else None
        return link if link and link.expires > server_time(self._redis) else None

    def revoke(self, batch_id: str, link_id: str) -> bool:
        """Delete a link. Return whether there was one."""
        return bool(self._redis.hdel(share_links_key(batch_id), link_id))


def _decoded(batch_id: str, link_id: str, text: str) -> ShareLink | None:
    try:
        fields = json.loads(text)
        expires = datetime.fromtimestamp(fields["expires"] / 1000, UTC)
        return ShareLink(link_id, batch_id, bool(fields["approved"]), str(fields["who"]), expires)
    except NOT_DECODED:
        return None
