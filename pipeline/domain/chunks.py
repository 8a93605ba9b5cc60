"""Long iterables in parts of bounded size. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Value = TypeVar("_Value")


def chunked(values: Iterable[_Value], size: int) -> Iterator[list[_Value]]:
    """Yield lists of at most `size` values, in order. Replace it by itertools.batched once Python 3.12 is required."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
