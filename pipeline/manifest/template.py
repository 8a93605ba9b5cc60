"""Placeholders in a manifest's `name`, `output` and prompts, replaced before it is validated. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fill = Callable[[str], str]
"""Returns a text with its placeholders replaced."""


def fill_manifest(manifest: dict[str, Any], fill: Fill) -> dict[str, Any]:
    """Return a manifest as it is written with its placeholders replaced. Values of a wrong type stay as they are."""
    filled = dict(manifest)
    for key in ("name", "output"):
        if key in filled:
            filled[key] = _fill(filled[key], fill)
    if isinstance(filled.get("items"), list):
        filled["items"] = fill_items(filled["items"], fill)
    matrix = filled.get("matrix")
    if isinstance(matrix, dict) and isinstance(matrix.get("prompts"), list):
        filled["matrix"] = {**matrix, "prompts": [_fill(prompt, fill) for prompt in matrix["prompts"]]}
    return filled


def fill_items(items: list[Any], fill: Fill) -> list[Any]:
    """Return items, or rows, with the placeholders in their prompts replaced."""
    return [
        {**item, "prompt": _fill(item["prompt"], fill)} if isinstance(item, dict) and "prompt" in item else item
        for item in items
    ]


def _fill(value: Any, fill: Fill) -> Any:
    return fill(value) if isinstance(value, str) else value
