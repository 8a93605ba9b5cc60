"""The keys of PIPELINE_SECRET, and what signs tokens in URLs with them. Pure."""

from __future__ import annotations

import hashlib

from itsdangerous import URLSafeSerializer


def signing_keys(secret: str) -> list[str]:
    """Return the keys in a secret: one key, or several with commas between them. The first one signs."""
    return [key.strip() for key in secret.split(",") if key.strip()]


def token_serializer(secret: str, purpose: str) -> URLSafeSerializer:
    """Return what signs tokens for one purpose, and verifies them with all keys, so that a key can be rotated.

    Raises ValueError if `secret` has no key.
    """
    keys = signing_keys(secret)
    if not keys:
        raise ValueError(f"The secret that signs tokens ({purpose}) is empty. Set PIPELINE_SECRET.")
    # itsdangerous signs with the last key of its list.
    return URLSafeSerializer(
        list(reversed(keys)), salt=f"dailies.{purpose}", signer_kwargs={"digest_method": hashlib.sha256}
    )
