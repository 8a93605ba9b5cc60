"""Work on several members of which one may fail: the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from pipeline.errors import Unreachable

T = TypeVar("T")
U = TypeVar("U")


def for_each(members: Iterable[T], work: Callable[[T], U]) -> list[U]:
    """Return what `work` returns for each member. The first error is raised after the last member.

    Unreachable is raised at once: without Redis no member can go on.
    """
    results, errors = [], []
    for member in members:
        try:
            results.append(work(member))
        except Unreachable:
            raise
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return results
