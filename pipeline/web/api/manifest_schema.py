"""The manifest in /openapi.json: the models that validate it, with a description of each key. Pure.

`POST /api/v1/estimate` checks what a schema cannot express.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from pipeline.manifest.schema import ItemEntry, ManifestEntry
from pipeline.manifest.validators import DEFAULT_IMAGE_FIELD, DEFAULT_MODEL

NAME = "ManifestEntry"
_REF = "#/components/schemas/{model}"
_DESCRIPTIONS: dict[str, dict[str, str]] = {
    NAME: {
        "": "A batch. At least one of `items`, `matrix` and `items_from`.",
        "version": "Always 1.",
        "name": "Up to 63 lower-case letters, digits and '-'.",
        "model": f"owner/model at the vendor; default: {DEFAULT_MODEL}.",
        "output": "`s3://bucket/prefix/` below a prefix of the service; default: the service's own.",
        "image_field": f"The model's field for an image; default: {DEFAULT_IMAGE_FIELD}.",
        "params": "Further model parameters, for every item.",
        "notify": "An https:// URL that receives a notification when the batch ends.",
        "reuse": "true: an output that was bought before for the same model, params, prompt and image is copied, "
        "not bought; default: false.",
        "items_from": "`s3://…/rows.csv`, `.tsv` or `.jsonl`; columns id, image, prompt, others are parameters.",
    },
    "ItemEntry": {
        "": "One image and prompt.",
        "id": "Default: derived from the content.",
        "image": "`https://…`, or `s3://…` below a prefix of the service.",
        "params": "Further model parameters, for this item.",
    },
    "LimitsEntry": {
        "": "Limits of a batch.",
        "max_active": "Maximum number of active runs.",
        "budget_usd": "US dollars as decimal text.",
        "attempts": "Maximum number of attempts per item; default: 3.",
        "tolerated_failures": "Items (`10`) or a share (`10%`): more failures cancel the batch.",
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
    """Return the schemas that MANIFEST_BODY refers to."""
    manifest = ManifestEntry.model_json_schema(ref_template=_REF)
    schemas: dict[str, dict[str, Any]] = {**manifest.pop("$defs"), NAME: manifest}
    schemas["ItemEntry"] = TypeAdapter(ItemEntry).json_schema(ref_template=_REF)
    # Items are validated in groups, so the manifest's model does not refer to their model.
    items = {"type": "array", "items": {"$ref": _REF.format(model="ItemEntry")}}
    manifest["properties"]["items"] = {"anyOf": [items, {"type": "null"}]}
    manifest["examples"] = [_EXAMPLE]
    _accept_scalars(schemas)
    for model, descriptions in _DESCRIPTIONS.items():
        schemas[model]["description"] = descriptions[""]
        for key, schema in schemas[model]["properties"].items():
            schema.pop("title", None)
            if key in descriptions:
                schema["description"] = descriptions[key]
    return schemas


def _accept_scalars(schema: Any) -> None:
    """Allow numbers and booleans in place of text: a manifest's `id: 007` is the text "007"."""
    if isinstance(schema, dict):
        if schema.get("type") == "string":
            schema["type"] = ["string", "number", "boolean"]
        for part in schema.values():
            _accept_scalars(part)
    elif isinstance(schema, list):
        for part in schema:
            _accept_scalars(part)
