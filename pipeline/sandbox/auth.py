"""Authentication: the API key and, for a project with a secret, a signature over a fresh nonce."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping

from pydantic import SecretStr

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

    def rejection(self, headers: Mapping[str, str]) -> str | None:
        """Return why a request with these headers is rejected; None if it is accepted."""
        if not _same(headers.get("x-api-key", ""), self._key):
            return "Invalid API key."
        if not self._secret:
            return None
        nonce = headers.get("x-nonce", "")
        if not nonce:
            return "x-nonce is missing."
        if not _same(headers.get("x-signature", ""), sign(self._key, self._secret, nonce)):
            return "Invalid signature."
        if nonce in self._nonces:
            return "x-nonce was used before."
        self._record(nonce)
        return None

    def _record(self, nonce: str) -> None:
        self._nonces[nonce] = None
        if len(self._nonces) > _MAX_NONCES:
            self._nonces.popitem(last=False)


def _same(actual: str, expected: str) -> bool:
    return hmac.compare_digest(actual.encode(), expected.encode())
