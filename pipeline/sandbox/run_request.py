"""Read the form of a Run: check the fields of the model and store the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.sandbox.engine import RunRequest
from pipeline.sandbox.errors import NOT_FOUND, VALIDATION, Refusal
from pipeline.sandbox.media_cache import MediaCache
from pipeline.sandbox.tasks import SourceImage

IMAGE_MODEL = "minimax/image-to-video-hailuo-01-subject"
IMAGE_FIELD = "inputImageFirst"


def read_run_request(
    model: str, form: Mapping[str, str | bytes | None], base_url: str, media_cache: MediaCache
) -> RunRequest:
    """Return the checked fields of a Run. Files are bytes, everything else is text.

    Raises Refusal (0) for a missing or contradictory parameter, (1) for a model that does not exist.
    """
    if model.partition("/")[2] == "missing":
        raise Refusal(NOT_FOUND, "Tool not found.")
    prompt = form.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise Refusal(VALIDATION, "Missing required parameter: prompt")
    if model == IMAGE_MODEL:
        _check_image_fields(form)
    callback_url = form.get("callbackUrl")
    return RunRequest(
        model=model,
        params={name: value for name, value in form.items() if isinstance(value, str) and name != "callbackUrl"},
        prompt=prompt,
        callback_url=callback_url if isinstance(callback_url, str) else "",
        image=_first_image(form, media_cache),
        base_url=base_url,
    )


def form_of_json(document: object) -> dict[str, str | None]:
    """Return a JSON body as a form. Raises Refusal (0) if it is not an object."""
    if not isinstance(document, dict):
        raise Refusal(VALIDATION, "The body must be a JSON object.")
    return {str(name): _text(value) for name, value in document.items()}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _check_image_fields(form: Mapping[str, str | bytes | None]) -> None:
    fields = (IMAGE_FIELD, f"{IMAGE_FIELD}Url")
    for name in fields:
        if name not in form:
            raise Refusal(VALIDATION, f"Missing parameter: {name} (send it empty when it is not used)")
    used = [name for name in fields if form[name]]
    if not used:
        raise Refusal(VALIDATION, f"Missing required parameter: {IMAGE_FIELD}: file required")
    if len(used) > 1:
        raise Refusal(VALIDATION, f"{fields[0]} and {fields[1]} cannot be used together")
    if isinstance(form[fields[1]], bytes):
        raise Refusal(VALIDATION, f"{fields[1]} must be a URL")


def _first_image(form: Mapping[str, str | bytes | None], media_cache: MediaCache) -> SourceImage:
    for name, value in form.items():
        if isinstance(value, bytes) and value:
            return SourceImage(sha256=media_cache.store(value))
        if isinstance(value, str) and name != "callbackUrl" and value.startswith(("http://", "https://")):
            return SourceImage(url=value.split(",")[0].strip())
        if name == IMAGE_FIELD + "Url" and value:
            return SourceImage(url=str(value))
    return SourceImage()
