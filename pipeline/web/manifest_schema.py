"""The manifest as /openapi.json describes it. Pure. What a schema cannot say, `POST /api/v1/estimate` does."""

from __future__ import annotations

from typing import Any

_PARAMS: dict[str, Any] = {"type": "object", "description": "Further model parameters.", "additionalProperties": True}
_ITEM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "description": "Derived from the content when it is left out."},
        "image": {"type": "string", "description": "`https://…`, or `s3://…` in a bucket of the service."},
        "prompt": {"type": "string"},
        "params": _PARAMS,
    },
}
_LIMITS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "max_active": {"type": "integer", "minimum": 1, "description": "Most runs at a time."},
        "budget_usd": {"type": "string", "description": "Decimal text."},
        "attempts": {"type": "integer", "minimum": 1, "default": 3},
        "tolerated_failures": {"type": "string", "description": "Items, or a share: `10%`.", "examples": ["10%"]},
        "deadline": {"type": "string", "description": "From the batch's creation: `90s`, `45m`, `2h`."},
    },
}
MANIFEST: dict[str, Any] = {
    "type": "object",
    "description": "A batch. At least one of `items`, `matrix` and `items_from`.",
    "additionalProperties": False,
    "required": ["version", "name"],
    "properties": {
        "version": {"const": 1},
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
        "model": {"type": "string", "default": "minimax/image-to-video-hailuo-01-subject"},
        "output": {"type": "string", "description": "`s3://bucket/prefix/`; default: the service's."},
        "image_field": {"type": "string", "default": "inputImageFirst"},
        "params": _PARAMS,
        "limits": _LIMITS,
        "notify": {"type": "string", "description": "https:// address that is told when the batch ends."},
        "items": {"type": "array", "items": _ITEM},
        "matrix": {
            "type": "object",
            "description": "Every image with every prompt.",
            "additionalProperties": False,
            "properties": {
                "images": {"type": "array", "items": {"type": "string"}},
                "prompts": {"type": "array", "items": {"type": "string"}},
            },
        },
        "items_from": {"type": "string", "description": "`s3://…/rows.csv` or `.jsonl`."},
    },
    "examples": [
        {
            "version": 1,
            "name": "la-street",
            "items": [{"id": "woman-1", "image": "https://example.com/1.jpg", "prompt": "She turns and smiles."}],
        }
    ],
}
_CONTENT = {"schema": {"$ref": "#/components/schemas/Manifest"}}
MANIFEST_BODY: dict[str, Any] = {
    "required": True,
    "description": "The manifest, as YAML or JSON.",
    "content": {"application/yaml": _CONTENT, "application/json": _CONTENT},
}
