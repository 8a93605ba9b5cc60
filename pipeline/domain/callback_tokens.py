"""Callback URLs: who may ring, and for which run. Pure.

The vendor's callbacks carry no signature, so the URL itself does: it names batch, item and attempt, signed
(HMAC-SHA256 through itsdangerous) with a key only we have. A token is good for ringing that one run's bell
and for nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

_MAX_TOKEN_CHARS = 1024


@dataclass(frozen=True)
class RunId:
    """One attempt at one item: what a callback token stands for."""

    batch: str
    item: str
    attempt: int


class CallbackSigner:
    """Signs and verifies callback tokens.

    `secret` is one key or several separated by commas: the first signs, every one is accepted, so that a key can
    be rotated without losing the callbacks of runs in flight.
    """

    def __init__(self, secret: str) -> None:
        keys = [key.strip() for key in secret.split(",") if key.strip()]
        if not keys:
            raise ValueError("a callback signer needs a secret")
        # itsdangerous signs with the last key of its list.
        self._serializer = URLSafeSerializer(
            list(reversed(keys)), salt="dailies.callback", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def url(self, public_url: str, run: RunId) -> str:
        """The URL which the vendor is to call when `run` ends. `public_url` has no closing slash."""
        token = self._serializer.dumps([run.batch, run.item, run.attempt])
        return f"{public_url}/callbacks/wiro/{token if isinstance(token, str) else token.decode()}"

    def verify(self, token: str) -> RunId | None:
        """The run that `token` was signed for; None for any other text."""
        if len(token) > _MAX_TOKEN_CHARS:
            return None
        try:
            batch, item, attempt = self._serializer.loads(token)
        except (BadData, ValueError, TypeError):
            return None
        return RunId(str(batch), str(item), int(attempt))
