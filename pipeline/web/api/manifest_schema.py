"""The manifest as /openapi.json describes it: the models that judge it, with a word for people on each key. Pure.

What a schema cannot say, `POST /api/v1/estimate` does.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from pipeline.manifest.schema import ItemEntry, ManifestEntry
from pipeline.manifest.validators import DEFAULT_IMAGE_FIELD, DEFAULT_MODEL

NAME = "ManifestEntry"
_REF = "#/components/schemas/{model}"
_SAYS: dict[str, dict[str, str]] = {
    NAME: {
        "": "A batch. At least one of `items`, `matrix` and `items_from`.",
        "version": "1, the only one that there is.",
        "name": "Up to 63 lower-case letters, digits and '-'.",
        "model": f"owner/model at the vendor; default: {DEFAULT_MODEL}.",
        "output": "`s3://bucket/prefix/` in a bucket of the service; default: the service's own.",
        "image_field": f"The model's field for an image; default: {DEFAULT_IMAGE_FIELD}.",
        "params": "Further model parameters, for every item.",
        "notify": "An https:// address that is told when the batch ends.",
        "items_from": "`s3://…/rows.csv` or `.jsonl`; columns id, image, prompt, any other is a param.",
    },
    "ItemEntry": {
        "": "One picture and prompt.",
        "id": "Derived from the content when it is left out.",
        "image": "`https://…`, or `s3://…` in a bucket of the service.",
        "params": "Further model parameters, for this item.",
    },
    "LimitsEntry": {
        "": "What a batch may use.",
        "max_active": "Most runs at a time.",
        "budget_usd": "US dollars as decimal text.",
        "attempts": "Most attempts an item; default: 3.",
        "tolerated_failures": "Items (`10`) or a share (`10%`): more failures stop the batch.",
        "deadline": "From the batch's creation: `90s`, `45m`, `2h`, `1d`.",
    },
    "MatrixEntry": {"": "Every image with every prompt."},
}
_EXAMPLE = {
    "version": 1,
    "name": "la-street",
    "items": [{"id": "woman-1", "image": "https://example.com/1.jpg", "prompt": "She turns and smiles."}],
}
_CONTENT = {"schema": {"$ref": _REF.format(model=NAME)}}
MANIFEST_BODY: dict[str, Any] = {
    "required": True,
    "description": "The manifest, as YAML or JSON.",
    "content": {"application/yaml": _CONTENT, "application/json": _CONTENT},
}


def manifest_schemas() -> dict[str, dict[str, Any]]:
    """The schemas that MANIFEST_BODY refers to."""
    manifest = ManifestEntry.model_json_schema(ref_template=_REF)
    found: dict[str, dict[str, Any]] = {**manifest.pop("$defs"), NAME: manifest}
    found["ItemEntry"] = TypeAdapter(ItemEntry).json_schema(ref_template=_REF)
    # Items are judged a handful at a time, so the model of a manifest does not name theirs.
    items = {"type": "array", "items": {"$ref": _REF.format(model="ItemEntry")}}
    manifest["properties"]["items"] = {"anyOf": [items, {"type": "null"}]}
    manifest["examples"] = [_EXAMPLE]
    _take_as_written(found)
    for model, says in _SAYS.items():
        found[model]["description"] = says[""]
        for key, schema in found[model]["properties"].items():
            schema.pop("title", None)
            if key in says:
                schema["description"] = says[key]
    return found


def _take_as_written(schema: Any) -> None:
    """Where a manifest has text, YAML's numbers and booleans are text as written: `id: 007` is "007"."""
    if isinstance(schema, dict):
        if schema.get("type") == "string":
            schema["type"] = ["string", "number", "boolean"]
        for part in schema.values():
            _take_as_written(part)
    elif isinstance(schema, list):
        for part in schema:
            _take_as_written(part)
