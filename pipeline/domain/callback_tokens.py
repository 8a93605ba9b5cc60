"""Signed callback URLs. Pure.

The vendor does not sign its callbacks, so the URL carries a signed token (HMAC-SHA256, by itsdangerous) with batch,
item and attempt. A token only triggers a status check of that one run.
"""

from __future__ import annotations

from dataclasses import dataclass

from itsdangerous import BadData

from pipeline.domain.ids import is_batch_id, is_item_id
from pipeline.domain.signing import token_serializer

LIVE_CHECK_BATCH = "-live-check"
"""The batch in the tokens of `doctor`. No batch can have this id."""
UNKNOWN_RUN = "No run has this token."
"""The receiver's response to an invalid token. `doctor` recognizes our receiver by it."""
NOT_STORED = "The callback was not stored. Send it again."
"""What the receiver answers to a callback of `doctor` that it did not store."""
_MAX_TOKEN_CHARS = 1024


@dataclass(frozen=True)
class RunId:
    """The identity of a run: batch id, item id and attempt, which counts from 1."""

    batch: str
    item: str
    attempt: int


class CallbackSigner:
    """Signs and verifies callback tokens.

    `secret` is one key, or several keys separated by commas. The first key signs. All keys verify, so a key can be
    rotated while runs are active. Raises ValueError if `secret` has no key.
    """

    def __init__(self, secret: str) -> None:
        self._serializer = token_serializer(secret, "callback")

    def url(self, public_url: str, run: RunId) -> str:
        """Return the callback URL of `run`. `public_url` has no slash at its end."""
        token = self._serializer.dumps([run.batch, run.item, run.attempt])
        return f"{public_url}/callbacks/wiro/{token if isinstance(token, str) else token.decode()}"

    def verify(self, token: str) -> RunId | None:
        """Return the run that `token` was signed for, None if the token is not valid."""
        if len(token) > _MAX_TOKEN_CHARS:
            return None
        try:
            batch, item, attempt = self._serializer.loads(token)
            run = RunId(str(batch), str(item), int(attempt))
        except (BadData, ValueError, TypeError):
            return None
        is_valid = is_item_id(run.item) and (is_batch_id(run.batch) or run.batch == LIVE_CHECK_BATCH)
        return run if is_valid else None
