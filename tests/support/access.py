"""Access to the web process: the token of the tests, and the headers of requests that it authorises."""

from __future__ import annotations

from pathlib import Path

from pipeline.local import state_file

TOKEN = "a-token-of-the-tests"


def bearer(token: str = TOKEN) -> dict[str, str]:
    """Return the headers of an authorised request."""
    return {"Authorization": f"Bearer {token}"}


def token_of(state: Path) -> str:
    """Return the token of the `up` on the folder `state`."""
    return state_file.environment(state)["PIPELINE_API_TOKEN"]


BEARER = bearer()
