"""Every requirement is locked with its dependencies, by version and hash."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ["requirements.txt", "requirements-local.txt", "requirements-dev.txt", "requirements-bench.txt"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Return {package: version}, with names in the form in which PyPI compares them."""
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PIN.findall(text)}


@pytest.mark.parametrize("name", NAMES)
def test_every_requirement_is_locked_at_its_version_with_hashes(name: str) -> None:
    lock = (ROOT / "locks" / name).read_text()
    required = pins((ROOT / name).read_text())
    assert required
    assert required.items() <= pins(lock).items(), "run `make lock`"
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert len(entries) == len(pins(lock))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_production_and_tests_use_the_same_versions() -> None:
    locks = [pins((ROOT / "locks" / name).read_text()) for name in NAMES]
    for smaller, larger in pairwise(locks):
        assert smaller.items() <= larger.items()


def test_make_installs_only_verified_packages() -> None:
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t$(PIP)")]
    assert lines
    for line in lines:
        assert "--require-hashes -r locks/" in line or "--no-deps --no-build-isolation" in line or "uv==" in line
