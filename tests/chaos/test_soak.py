"""A short soak test. `make chaos` runs a long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.soak import soak


def test_random_faults_lose_nothing_and_buy_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")
    outcome = soak(tmp_path, items=150, batches=3, seconds=25, seed=20261124)
    assert (outcome.lost, outcome.double_billed, outcome.stuck, outcome.kept) == (0, 0, 0, 0), outcome
    assert outcome.injected, "no fault was injected"
