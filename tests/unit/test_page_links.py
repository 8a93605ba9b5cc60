"""The numbers of the pages of a list."""

from __future__ import annotations

import pytest

from pipeline.web.dashboard.page_links import PageLinks


@pytest.mark.parametrize(
    ("index", "total", "shown"),
    [
        (0, 0, (1,)),
        (0, 48, (1,)),
        (0, 49, (1, 2)),
        (0, 480, (1, 2, 3, 0, 10)),
        (3, 480, (1, 2, 3, 4, 5, 6, 0, 10)),
        (5, 480, (1, 0, 4, 5, 6, 7, 8, 9, 10)),
        (5, 600, (1, 0, 4, 5, 6, 7, 8, 0, 13)),
        (9, 480, (1, 0, 8, 9, 10)),
    ],
)
def test_first_last_and_neighbouring_pages_are_linked(index: int, total: int, shown: tuple[int, ...]) -> None:
    links = PageLinks.at(index, total, 48)
    assert (links.number, links.shown) == (index + 1, shown)


def test_a_page_beyond_the_end_is_the_last_one() -> None:
    assert PageLinks.at(900, 100, 48).number == 3
