"""A short soak; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.soak import soak


def test_nothing_is_lost_or_bought_twice_while_everything_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")
    outcome = soak(tmp_path, items=150, batches=3, seconds=25, seed=20261124)
    assert (outcome.lost, outcome.double_billed, outcome.stuck) == (0, 0, 0), outcome
    assert outcome.deeds, "nothing was broken"
