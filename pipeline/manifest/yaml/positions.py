"""Where things are written in a YAML text: read again when something is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Where a value is: ("items", 3, "prompt")."""

_NO_STEP: Any = object()


class Tree:
    """Paths that are looked for, and where they were found."""

    def __init__(self) -> None:
        self.children: dict[str | int, Tree] = {}
        self.at: tuple[int, int] | None = None
        self.key_at: tuple[int, int] | None = None

    def add(self, path: Path) -> None:
        """Look for `path` and all that lead there."""
        tree = self
        for step in path:
            tree = tree.children.setdefault(step, Tree())

    def size(self) -> int:
        """How many paths there are."""
        return 1 + sum(child.size() for child in self.children.values())

    def place(self, path: Path, *, key: bool) -> tuple[int, int]:
        """Where `path` is, or as much of it as was found."""
        place = self.at or (1, 1)
        tree = self
        for step in path:
            found = tree.children.get(step)
            if found is None or found.at is None:
                return place
            tree, place = found, found.at
        return tree.key_at or place if key else place


def find(tree: Tree, text: bytes) -> None:
    """Note the places of what is in the tree. The text has been read before: its keys are text."""
    left = tree.size()
    # For each open node: its tree (None: nothing in it is looked for), whether it is a mapping, index or key.
    stack: list[tuple[Tree | None, bool, Any]] = []
    here: Tree | None = None
    is_mapping, step = False, _NO_STEP
    try:
        for event in _events(text):
            kind = type(event)
            if kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                here, is_mapping, step = stack.pop()
                continue
            if is_mapping and step is _NO_STEP:
                step = event.value
                child = here.children.get(step) if here else None
                if child is not None and child.key_at is None:
                    child.key_at = _at(event)
                continue
            child = tree if not stack else here.children.get(step) if here else None
            if child is not None and child.at is None:
                child.at = _at(event)
                left -= 1
                if not left:
                    return
            step = _NO_STEP if is_mapping else step + 1 if stack else step
            if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                stack.append((here, is_mapping, step))
                here, is_mapping = child, kind is yaml.MappingStartEvent
                step = _NO_STEP if is_mapping else 0
    except yaml.YAMLError:
        # JSON that is no YAML, with a tab for an indent or a very long key: what was found by then is told.
        return


def _events(text: bytes) -> Iterator[Any]:
    """The events of the first document's nodes."""
    loader: Any = yaml.CSafeLoader(text)
    loader.get_event()
    loader.get_event()
    while type(event := loader.get_event()) is not yaml.DocumentEndEvent:
        yield event


def _at(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
