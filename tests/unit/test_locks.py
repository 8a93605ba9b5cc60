"""Every requirement is locked with its dependencies, by version and hash."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = [
    "requirements.txt", "requirements-previews.txt", "requirements-local.txt", "requirements-dev.txt",
    "requirements-bench.txt",
]  # fmt: skip
SEPARATE = ["requirements-prefect.txt", "requirements-otel.txt", "requirements-lock.txt"]
"""Requirements that no other list contains."""
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", ".ci/run", "Procfile"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Return {package: version}, with names in the form in which PyPI compares them."""
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PIN.findall(text)}


@pytest.mark.parametrize("name", [*NAMES, *SEPARATE])
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


def pip_lines() -> list[tuple[str, str]]:
    """Return (file, line) of each line of the Makefile, README and docs that installs packages with pip."""
    pages = [ROOT / page for page in PAGES] + sorted((ROOT / "docs").glob("*.md"))
    return [
        (page.name, line)
        for page in pages
        for line in page.read_text().splitlines()
        if re.search(r"pip install|\t\$\(PIP\)", line) and not line.startswith("PIP :=")
    ]


def test_every_pip_line_installs_verified_packages() -> None:
    lines = pip_lines()
    assert {"Makefile", "README.md", "deploy.md"} <= {page for page, _ in lines}
    for page, line in lines:
        is_locked = re.search(r"--require-hashes -r (locks/|\$<)", line) or "--no-deps --no-build-isolation" in line
        assert is_locked, f"{page}: {line}"
