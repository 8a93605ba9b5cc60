"""Generated parts of docs/ are current."""

from __future__ import annotations

import pytest
from support.generated_docs import DOCS, PARTS, with_part


@pytest.mark.parametrize("name", PARTS)
def test_a_generated_part_of_the_docs_is_current(name: str) -> None:
    file, make = PARTS[name]
    page = (DOCS / file).read_text()
    assert with_part(page, name, make()) == page, "run: make docs"
