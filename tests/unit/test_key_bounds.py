"""docs/architecture.md states the bound of every key."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.ledger import keys

PAGE = (Path(__file__).parents[2] / "docs/architecture.md").read_text()


def test_each_key_has_its_bound_on_the_page() -> None:
    described = re.findall(r"^ {4}(\S+)\s{2,}(?:string|hash|list|set|zset)\s", keys.__doc__ or "", re.M)
    table = PAGE.partition("<!-- begin bounds -->")[2].partition("<!-- end bounds -->")[0]
    rows = re.findall(r"^\| `([^`]+)` \| \S.+ \|$", table, re.M)
    assert len(described) > 50
    assert rows == described, "in the order of the key module"
