"""Tokens of share links: each names one link to the gallery of one batch, and is signed. Pure.

The ledger has the links; no token can be made from its data.
"""

from __future__ import annotations

from itsdangerous import BadData

from pipeline.domain.ids import is_batch_id
from pipeline.domain.signing import token_serializer

_MAX_TOKEN_CHARS = 512


class ShareSigner:
    """Signs and verifies tokens. `secret`: one key or several with commas between them; the first one signs.

    Raises ValueError if `secret` has no key.
    """

    def __init__(self, secret: str) -> None:
        self._serializer = token_serializer(secret, "share")

    def token(self, batch_id: str, link_id: str) -> str:
        """Return the token of a link."""
        token = self._serializer.dumps([batch_id, link_id])
        return token if isinstance(token, str) else token.decode()

    def verify(self, token: str) -> tuple[str, str] | None:
        """Return (batch id, link id) that `token` was signed for, None if the token is not valid."""
        if len(token) > _MAX_TOKEN_CHARS:
            return None
        try:
            batch_id, link_id = self._serializer.loads(token)
        except (BadData, ValueError, TypeError):
            return None
        return (batch_id, link_id) if isinstance(link_id, str) and is_batch_id(str(batch_id)) else None
