"""The form of a new batch as data, the manifest that it means, and the form of a manifest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.domain.model import Limits, Manifest
from pipeline.errors import InvalidManifest, Problem
from pipeline.manifest.parser import derived_id, head, render
from pipeline.manifest.readable_names import NumberedIds, batch_name, file_ids

FILE = "manifest"
"""The name of the manifest in messages."""
MAX_TAKES = 20
MAX_MANIFEST_BYTES = 8 * 1024 * 1024
"""Of a manifest that a browser can send. It is the limit of request bodies."""
MORE = ("output", "image_field", "notify", "limits")
"""Keys of a manifest that the form has no fields for, but for the budget in its limits."""
_TOO_LONG = f"The manifest is longer than {MAX_MANIFEST_BYTES:,} bytes. Split it, or use `dailies submit`."


class FormItem(BaseModel):
    """An image and its prompt. `image`: an address, or the name of a file. Without a prompt it has that of the form."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    image: str | None = None
    prompt: str | None = None
    params: dict[str, Any] = {}


class BatchForm(BaseModel):
    """What a person fills in. `more`: values of the keys in MORE."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    model: str = ""
    params: dict[str, Any] = {}
    budget: str = ""
    takes: Annotated[int, Field(ge=1, le=MAX_TAKES)] = 1
    prompt: str = ""
    items: list[FormItem] = []
    more: dict[str, Any] = {}


class FormManifest:
    """The manifest that a form means: a line for each take of each item."""

    def __init__(self, form: BatchForm) -> None:
        """Make the text. Raises InvalidManifest if it is too long."""
        self._takes = form.takes
        keys = _head(form)
        self._first_line = sum(value is not None for value in keys.values()) + 2
        self.text = render(keys, _bounded(_items(form)))
        if len(self.text) > MAX_MANIFEST_BYTES:
            raise InvalidManifest([Problem(FILE, 1, 1, _TOO_LONG)])

    def item_at(self, line: int) -> int | None:
        """Return the index of the item that a line was made from, None for the lines before the items."""
        return (line - self._first_line) // self._takes if line >= self._first_line else None


def form_of(manifest: Manifest) -> BatchForm:
    """Return the form that means a manifest."""
    keys = {key: value for key, value in head(manifest).items() if value}
    limits = dict(keys.pop("limits", {}))
    if limits.get("attempts") == Limits.attempts:
        del limits["attempts"]
    return BatchForm(
        name=keys.pop("name"),
        model=keys.pop("model"),
        params=keys.pop("params", {}),
        budget=limits.pop("budget_usd", ""),
        items=[
            FormItem(
                id=None if item.id.startswith(derived_id(item.image, item.prompt, item.params)) else item.id,
                image=item.image,
                prompt=item.prompt,
                params=dict(item.params),
            )
            for item in manifest.items
        ],
        more={key: value for key, value in {**keys, "limits": limits}.items() if key in MORE and value},
    )


def _head(form: BatchForm) -> dict[str, Any]:
    limits = form.more.get("limits", {})
    budget = {"budget_usd": form.budget.strip()} if form.budget.strip() else {}
    return {
        "version": 1,
        "name": batch_name(form.name) or "batch",
        "model": form.model.strip() or None,
        "output": form.more.get("output"),
        "image_field": form.more.get("image_field"),
        "params": form.params or None,
        "limits": {**limits, **budget} or None if isinstance(limits, dict) else limits,
        "notify": form.more.get("notify"),
    }


def _items(form: BatchForm) -> Iterator[dict[str, Any]]:
    for item, item_id in zip(form.items, _ids(form.items), strict=True):
        values = {
            "image": item.image,
            "prompt": (item.prompt or "").strip() or form.prompt.strip(),
            "params": item.params,
        }
        filled = {key: value for key, value in values.items() if value}
        for take in range(1, form.takes + 1):
            unique = f"{item_id}-{take}" if form.takes > 1 else item_id
            yield {"id": unique, **filled} if item_id else filled


def _ids(items: list[FormItem]) -> list[str | None]:
    """Return the id of each item: its own, one made of the name of its file, or None."""
    files = list(dict.fromkeys(item.image for item in items if item.image and "://" not in item.image))
    names = dict(zip(files, file_ids(files), strict=True))
    numbered = NumberedIds(item.id for item in items if item.id)
    return [item.id or (numbered.add(names[item.image]) if item.image in names else None) for item in items]


def _bounded(items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield items until they are too long: the prompt of the form, and takes, repeat what was sent once."""
    length = 0
    for item in items:
        length += len(str(item))
        if length > MAX_MANIFEST_BYTES:
            raise InvalidManifest([Problem(FILE, 1, 1, _TOO_LONG)])
        yield item
