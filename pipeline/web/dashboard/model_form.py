"""The parameters of a model as fields of a form. Pure."""

from __future__ import annotations

from typing import Any

from pipeline.batches.model_catalog import ModelLookup
from pipeline.manifest.model_check import image_field_of
from pipeline.wiro.model_schema import FILE_KINDS, Parameter
from pipeline.wiro.values import to_param_text

_PROMPT = "prompt"
_FILLED = frozenset({_PROMPT, "callbackUrl", "projectid"})
"""Parameters that are no fields: the prompt is of each item, the others are set by the service."""


def model_form(found: ModelLookup) -> dict[str, Any]:
    """Return the title of a model and its fields; None as fields, and the reason, if they are not known.

    `prompt`: whether the model takes one; `needs_prompt`: whether each run must have one.
    """
    schema = found.schema
    if schema is None or schema.parameters is None:
        return {"title": "", "fields": None, "reason": found.reason, "prompt": True, "needs_prompt": True}
    image = image_field_of(None, schema)
    hidden = {*_FILLED, *([image.name] if image else [])}
    prompt = next((one for one in schema.parameters if one.id == _PROMPT), None)
    return {
        "title": schema.title,
        "fields": [_field(one) for one in schema.parameters if one.id not in hidden],
        "reason": "",
        "prompt": prompt is not None,
        "needs_prompt": prompt is not None and prompt.required,
    }


def _field(one: Parameter) -> dict[str, Any]:
    is_file = one.kind in FILE_KINDS
    return {
        # A file parameter takes an address in its twin (API doc); a `combinefileinput` has none.
        "name": f"{one.id}Url" if is_file and one.kind != "combinefileinput" else one.id,
        "label": f"{one.label or one.id}{' (address)' if is_file else ''}",
        "kind": one.kind,
        "is_required": one.required and one.default in (None, ""),
        "default": to_param_text(one.default),
        "options": list(one.options),
        "min": to_param_text(one.min),
        "max": to_param_text(one.max),
        "step": to_param_text(one.step),
    }
