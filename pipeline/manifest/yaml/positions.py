"""Line and column of values in a YAML text. The text is parsed again for it, only if it has problems. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Where a value is in a document: ("items", 3, "prompt")."""
Position = tuple[int, int]
"""Line and column, both from 1."""

_NO_STEP: Any = object()


class PositionTree:
    """Paths to look for, and their positions once `find_positions` has run."""

    def __init__(self) -> None:
        self.children: dict[str | int, PositionTree] = {}
        self.value_at: Position | None = None
        self.key_at: Position | None = None

    def add(self, path: Path) -> None:
        """Look for `path` and all its parents."""
        tree = self
        for step in path:
            tree = tree.children.setdefault(step, PositionTree())

    def size(self) -> int:
        """Return the number of paths."""
        return 1 + sum(child.size() for child in self.children.values())

    def position(self, path: Path, *, key: bool) -> Position:
        """Return the position of the value at `path` (with `key`: of its key), or that of its nearest parent."""
        position = self.value_at or (1, 1)
        tree = self
        for step in path:
            child = tree.children.get(step)
            if child is None or child.value_at is None:
                return position
            tree, position = child, child.value_at
        return tree.key_at or position if key else position


def find_positions(tree: PositionTree, text: bytes) -> None:
    """Fill in the positions of a tree. The text was decoded before, so its keys are text."""
    left = tree.size()
    # For each open node: its tree (None: no path leads there), whether it is a mapping, its index or key.
    stack: list[tuple[PositionTree | None, bool, Any]] = []
    parent: PositionTree | None = None
    is_mapping, step = False, _NO_STEP
    try:
        for event in _events(text):
            kind = type(event)
            if kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                parent, is_mapping, step = stack.pop()
                continue
            if is_mapping and step is _NO_STEP:
                step = event.value
                child = parent.children.get(step) if parent else None
                if child is not None and child.key_at is None:
                    child.key_at = _position(event)
                continue
            child = tree if not stack else parent.children.get(step) if parent else None
            if child is not None and child.value_at is None:
                child.value_at = _position(event)
                left -= 1
                if not left:
                    return
            step = _NO_STEP if is_mapping else step + 1 if stack else step
            if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                stack.append((parent, is_mapping, step))
                parent, is_mapping = child, kind is yaml.MappingStartEvent
                step = _NO_STEP if is_mapping else 0
    except yaml.YAMLError:
        # JSON that is not YAML, for example with a tab as indentation: the positions up to here are kept.
        return


def _events(text: bytes) -> Iterator[Any]:
    """Yield the events of the first document's nodes."""
    loader: Any = yaml.CSafeLoader(text)
    loader.get_event()
    loader.get_event()
    while type(event := loader.get_event()) is not yaml.DocumentEndEvent:
        yield event


def _position(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1
