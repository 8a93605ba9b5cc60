"""What differs between two manifests, in one line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.domain.model import Item, Manifest
from pipeline.wiro.values import to_param_text

_HEAD = ("name", "image_field", "reuse", "limits", "notify")
_MAX_NAMED_ITEMS = 3


def difference(before: Manifest, now: Manifest) -> str:
    """Return what differs, '' if nothing does. `now` is as its runs are posted, with images as they are stored."""
    parts = [f"{name}: differs" for name in _HEAD if getattr(before, name) != getattr(now, name)]
    if before.model.lower() != now.model.lower():
        parts.append(f"model: {before.model} before, {now.model} now")
    if _texts(before.params) != _texts(now.params):
        parts.append("params: differs")
    if before.output and before.output != now.output:
        parts.append(f"output: {before.output} before, {now.output} now")
    if len(before.items) != len(now.items):
        parts.append(f"items: {len(before.items):,} before, {len(now.items):,} now")
    parts += _item_differences(before, now)
    return "; ".join(parts)


def _item_differences(before: Manifest, now: Manifest) -> list[str]:
    old, new = ({item.id: item for item in manifest.items} for manifest in (before, now))
    found = [f"item {item_id}: not there now" for item_id in old if item_id not in new]
    found += [f"item {item_id}: not there before" for item_id in new if item_id not in old]
    found += [
        f"item {item_id}: {', '.join(changed)} {'differs' if len(changed) == 1 else 'differ'}"
        for item_id in old
        if item_id in new and (changed := _changed(old[item_id], new[item_id]))
    ]
    if not found and list(old) != list(new):
        return ["items: in another order"]
    more = len(found) - _MAX_NAMED_ITEMS
    return [*found[:_MAX_NAMED_ITEMS], *([f"and {more:,} more"] if more > 0 else [])]


def _changed(before: Item, now: Item) -> list[str]:
    changed = [name for name in ("image", "prompt") if getattr(before, name) != getattr(now, name)]
    return changed + (["params"] if _texts(before.params) != _texts(now.params) else [])


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Return params as the vendor receives them: `true` and `1` differ, `5` and `5.0` do not."""
    return {name: to_param_text(value) for name, value in params.items()}
