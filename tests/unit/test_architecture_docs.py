"""The pages for developers name files and packages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("docs/architecture.md", "docs/decisions.md", "CONTRIBUTING.md", "SECURITY.md")
ROOTS = (ROOT, ROOT / "pipeline")


def named_paths(page: str) -> list[str]:
    """Return the paths in code font that end with a file suffix or a slash."""
    return re.findall(r"`((?:[\w.]+/)+(?:[\w.]+\.(?:py|lua|md|yaml|json))?)`", (ROOT / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_every_named_file_exists(page: str) -> None:
    produced = ("inputs/", "journal/", "items/", "previews/")
    paths = [path for path in named_paths(page) if not path.startswith(produced)]
    assert paths
    assert [path for path in paths if not any((root / path).exists() for root in ROOTS)] == []


def test_every_package_is_on_the_architecture_page() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    packages = [file.parent.name for file in (ROOT / "pipeline").glob("*/__init__.py")]
    assert [name for name in packages if f"`pipeline/{name}/`" not in page] == []
