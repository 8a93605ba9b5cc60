"""The numbers of the pages of a list, and those of its queries. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_NEIGHBOURS = 2


def query_number(text: str) -> int:
    """Return a number of a query: a page or a position. 0 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


@dataclass(frozen=True)
class PageLinks:
    """Page `number` of `last`, counted from 1. `shown`: the pages to link; 0 stands for pages that are left out."""

    number: int
    last: int
    shown: tuple[int, ...]

    @classmethod
    def at(cls, index: int, total: int, size: int) -> PageLinks:
        """Return the links of page `index`, counted from 0, of `total` entries; the last page if it is beyond it."""
        last = max(1, -(-total // size))
        number = min(index + 1, last)
        near = range(max(1, number - _NEIGHBOURS), min(last, number + _NEIGHBOURS) + 1)
        pages = sorted({1, *near, last})
        shown: list[int] = []
        for page in pages:
            if shown and page > shown[-1] + 1:
                # A gap of one page is that page.
                shown.append(page - 1 if page == shown[-1] + 2 else 0)
            shown.append(page)
        return cls(number, last, tuple(shown))
