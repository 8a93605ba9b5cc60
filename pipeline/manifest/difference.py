"""What differs between two manifests, in one line. Pure."""

from __future__ import annotations

from pipeline.domain.model import Item, Manifest

_HEAD = ("name", "model", "params", "limits", "notify")
_PARTS = ("image", "prompt", "params")
_MAX_NAMED_ITEMS = 3


def difference(before: Manifest, now: Manifest) -> str:
    """Return what differs, '' if nothing does. `now` is as its runs are posted, with images as they are stored."""
    parts = [f"{name}: differs" for name in _HEAD if getattr(before, name) != getattr(now, name)]
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
    return [name for name in _PARTS if getattr(before, name) != getattr(now, name)]
