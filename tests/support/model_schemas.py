"""Schemas of models, as the vendor describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.wiro.model_schema import ModelSchema, parse_model_schema

MODEL = "acme/animate"
PROMPT = {"id": "prompt", "type": "textarea", "label": "Prompt", "required": True}
IMAGE = {"id": "inputImage", "type": "fileinput", "label": "Image", "required": True}
SECONDS = {"id": "seconds", "type": "range", "label": "Seconds", "min": "5", "max": 10, "step": 5}
RATIO = {
    "id": "ratio",
    "type": "select",
    "label": "Ratio",
    "options": [{"label": "Wide", "value": "16:9"}, {"label": "Tall", "value": "9:16"}],
}
QUALITY = {"id": "quality", "type": "text", "label": "Quality", "required": True}


def a_tool(*items: Mapping[str, Any], prices: str = "", **fields: Any) -> dict[str, Any]:
    """Return the object of Tool/Detail for a model with these parameters."""
    owner, _, name = MODEL.partition("/")
    parameters = [{"title": "Input", "items": list(items)}] if items else None
    tool = {"id": "1", "slugowner": owner, "slugproject": name, "title": "Animate", "parameters": parameters}
    return {**tool, "categories": ["video"], "dynamicprice": prices, **fields}


def a_schema(*items: Mapping[str, Any], **fields: Any) -> ModelSchema:
    return parse_model_schema(a_tool(*items, **fields), MODEL)
