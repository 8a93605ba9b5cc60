"""Share links of a gallery: made, listed and revoked on the page of the batch by users who are signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, g, redirect, request
from werkzeug.exceptions import BadRequest, Conflict
from werkzeug.wrappers import Response as AnyResponse

from pipeline.domain.share_tokens import ShareSigner
from pipeline.errors import BatchArchived, InvalidSettings, NoSuchBatch
from pipeline.ledger.batches import BatchStore
from pipeline.ledger.share_links import MAX_LINKS, ShareLink, ShareLinkStore
from pipeline.settings import Settings

log = structlog.get_logger()

LIFETIMES = {"1": "1 day", "7": "7 days", "30": "30 days", "90": "90 days"}
"""Days, as the form sends them, and in words."""
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class SharedAddress:
    """An active link and its address. `is_local`: no other machine can open it."""

    link: ShareLink
    url: str
    is_local: bool


class ShareLinks:
    """The share links of all batches. Without PIPELINE_SECRET there are none. Methods may raise Unreachable."""

    def __init__(self, settings: Settings, store: ShareLinkStore, batches: BatchStore) -> None:
        secret = settings.secret.get_secret_value()
        self._signer = ShareSigner(secret) if secret else None
        self._store = store
        self._batches = batches
        self._public_url = settings.public_url

    @property
    def is_available(self) -> bool:
        """Whether links can be made."""
        return self._signer is not None

    def open(self, token: str) -> ShareLink | None:
        """Return the link of a token; None if it has expired, was revoked, or never was."""
        found = self._signer.verify(token) if self._signer else None
        return self._store.get(*found) if found else None

    def is_of_archived_batch(self, token: str) -> bool:
        """Return whether a token is valid, and its batch is archived: the links have left Redis with its items."""
        found = self._signer.verify(token) if self._signer else None
        try:
            return found is not None and self._batches.get(found[0]).archived is not None
        except NoSuchBatch:
            return False

    def create(self, batch_id: str, lifetime: timedelta, *, approved_only: bool, who: str) -> None:
        """Make a link. Raises InvalidSettings, NoSuchBatch, BatchArchived, Conflict."""
        batch = self._batches.get(batch_id)
        if batch.archived:
            raise BatchArchived(batch_id, batch.output)
        if self._signer is None:
            raise InvalidSettings("PIPELINE_SECRET is not set. It signs share links: set it, and restart `web`.")
        link = self._store.create(batch_id, lifetime=lifetime, approved_only=approved_only, who=who)
        if link is None:
            raise Conflict(f"This batch has {MAX_LINKS} links already. Revoke one of them first.")
        log.info("share_link_created", batch=batch_id, link=link.id, who=who, expires=link.expires.isoformat())

    def revoke(self, batch_id: str, link_id: str, *, who: str) -> None:
        """End a link, if there is one."""
        if self._store.revoke(batch_id, link_id):
            log.info("share_link_revoked", batch=batch_id, link=link_id, who=who)

    def active(self, batch_id: str) -> list[SharedAddress]:
        """Return the active links of a batch with their addresses."""
        if self._signer is None:
            return []
        base = self._public_url or request.host_url.rstrip("/")
        is_local = urlsplit(base).hostname in _LOCAL_HOSTS
        return [
            SharedAddress(link, f"{base}/shared/{self._signer.token(batch_id, link.id)}", is_local)
            for link in self._store.active(batch_id)
        ]


def blueprint(links: ShareLinks) -> Blueprint:
    """Return the routes `POST /batches/{id}/shares` and `POST /batches/{id}/shares/{link}/revoke`, for forms."""
    routes = Blueprint("shares", __name__)

    @routes.post("/batches/<batch_id>/shares")
    def create(batch_id: str) -> AnyResponse:
        days = request.form.get("days", "")
        if days not in LIFETIMES:
            raise BadRequest(f"days: choose one of {', '.join(LIFETIMES)}.")
        approved_only = request.form.get("review") == "approved"
        links.create(batch_id, timedelta(days=int(days)), approved_only=approved_only, who=g.who)
        return _back(batch_id)

    @routes.post("/batches/<batch_id>/shares/<link_id>/revoke")
    def revoke(batch_id: str, link_id: str) -> AnyResponse:
        links.revoke(batch_id, link_id, who=g.who)
        return _back(batch_id)

    return routes


def _back(batch_id: str) -> AnyResponse:
    return redirect(f"/batches/{batch_id}?share#share", 303)
