"""A manifest with its places filled in, before it is validated: `name`, `output` and prompts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fill = Callable[[str], str]


def filled(value: dict[str, Any], fill: Fill) -> dict[str, Any]:
    """A manifest as it was written, filled in. What is not text is left for validation to find."""
    found = dict(value)
    for key in ("name", "output"):
        if key in found:
            found[key] = _text(found[key], fill)
    if isinstance(found.get("items"), list):
        found["items"] = filled_items(found["items"], fill)
    matrix = found.get("matrix")
    if isinstance(matrix, dict) and isinstance(matrix.get("prompts"), list):
        found["matrix"] = {**matrix, "prompts": [_text(prompt, fill) for prompt in matrix["prompts"]]}
    return found


def filled_items(items: list[Any], fill: Fill) -> list[Any]:
    """Items, or rows, with their prompts filled in."""
    return [
        {**item, "prompt": _text(item["prompt"], fill)} if isinstance(item, dict) and "prompt" in item else item
        for item in items
    ]


def _text(value: Any, fill: Fill) -> Any:
    return fill(value) if isinstance(value, str) else value
