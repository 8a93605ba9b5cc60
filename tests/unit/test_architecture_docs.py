"""The pages for developers name files and packages that exist."""

from __future__ import annotations

import ast
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


def test_the_readme_links_every_page_of_the_docs() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def test_every_module_has_a_docstring_for_the_page_of_modules() -> None:
    files = [file for package in ("pipeline", "jobs", "config") for file in (ROOT / package).rglob("[!_]*.py")]
    assert [str(file) for file in files if not ast.get_docstring(ast.parse(file.read_text()))] == []
