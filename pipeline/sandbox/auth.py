"""Authentication: the API key and, for a project with a secret, a signature over a nonce."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping

from pydantic import SecretStr

UNKNOWN_KEY = "Project authorization is not founded."
NOT_SIGNED = "Project requires signature authentication. x-signature and x-nonce headers are required."
INVALID_SIGNATURE = "Project authorization is not valid."
_MAX_NONCES = 200_000


def sign(api_key: str, api_secret: str, nonce: str) -> str:
    """Return the `x-signature` for a nonce."""
    return hmac.new(api_key.encode(), (api_secret + nonce).encode(), hashlib.sha256).hexdigest()


class Authenticator:
    """Checks the headers of API requests and records the nonces that were used."""

    def __init__(self, api_key: SecretStr, api_secret: SecretStr | None) -> None:
        self._key = api_key.get_secret_value()
        self._secret = api_secret.get_secret_value() if api_secret else ""
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def has_key(self, headers: Mapping[str, str]) -> bool:
        """Return whether `headers` have the API key."""
        return _same(headers.get("x-api-key", ""), self._key)

    def rejection(self, headers: Mapping[str, str], *, strict_nonce: bool = False) -> str | None:
        """Return why a request with these headers is rejected; None if it is accepted.

        strict_nonce: reject a nonce that was used before. The vendor's own samples and clients repeat theirs.
        """
        if not self.has_key(headers):
            return UNKNOWN_KEY
        if not self._secret:
            return None
        nonce, signature = headers.get("x-nonce", ""), headers.get("x-signature", "")
        if not nonce or not signature:
            return NOT_SIGNED
        # The vendor's shell sample sends what `openssl dgst` prints: "SHA2-256(stdin)= " and the signature.
        if not _same(signature.rpartition("= ")[2], sign(self._key, self._secret, nonce)):
            return INVALID_SIGNATURE
        if strict_nonce and nonce in self._nonces:
            return INVALID_SIGNATURE
        self._record(nonce)
        return None

    def _record(self, nonce: str) -> None:
        self._nonces[nonce] = None
        if len(self._nonces) > _MAX_NONCES:
            self._nonces.popitem(last=False)


def _same(actual: str, expected: str) -> bool:
    return hmac.compare_digest(actual.encode(), expected.encode())
