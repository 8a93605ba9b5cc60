"""The numbers in docs/dashboard.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.ledger.queries import MAX_SCANNED_ITEMS
from pipeline.web.dashboard.batch_page import PAGE_SIZE

TEXT = " ".join(Path("docs/dashboard.md").read_text(encoding="utf-8").split())


def test_the_docs_state_the_size_of_a_page_and_of_a_search() -> None:
    shown = re.search(r"A page shows ([\d,]+) items, and one search request scans at most ([\d,]+) items", TEXT)
    assert shown
    assert [int(number.replace(",", "")) for number in shown.groups()] == [PAGE_SIZE, MAX_SCANNED_ITEMS]
