"""Who may call: the API key, and for a project with a secret a signature over a fresh nonce."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping

from pydantic import SecretStr

_NONCES_KEPT = 200_000


def sign(api_key: str, api_secret: str, nonce: str) -> str:
    """The `x-signature` for a nonce."""
    return hmac.new(api_key.encode(), (api_secret + nonce).encode(), hashlib.sha256).hexdigest()


class Authenticator:
    """Checks the headers of API requests and remembers the nonces used."""

    def __init__(self, api_key: SecretStr, api_secret: SecretStr | None) -> None:
        self._key = api_key.get_secret_value()
        self._secret = api_secret.get_secret_value() if api_secret else ""
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def objection(self, headers: Mapping[str, str]) -> str | None:
        """Why a request with these headers is turned away; None when it is welcome."""
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
        self._remember(nonce)
        return None

    def _remember(self, nonce: str) -> None:
        self._nonces[nonce] = None
        if len(self._nonces) > _NONCES_KEPT:
            self._nonces.popitem(last=False)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
