"""Read the form of a Run: check the fields against the model and store the files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.sandbox.errors import INVALID_BODY, VALIDATION, Refusal
from pipeline.sandbox.forms import Form, FormFile
from pipeline.sandbox.media_cache import MediaCache
from pipeline.sandbox.models import Model, Parameter
from pipeline.sandbox.tasks import SourceImage

_CALLBACK = "callbackUrl"


@dataclass(frozen=True)
class RunRequest:
    """The checked fields of a Run."""

    model: str
    params: dict[str, Any]
    prompt: str
    callback_url: str
    image: SourceImage
    base_url: str


def read_run_request(model: Model, form: Form, base_url: str, media_cache: MediaCache) -> RunRequest:
    """Return the checked fields of a Run. Raises Refusal (0) for a missing, invalid or contradictory parameter.

    Parameters that the model lacks are accepted: the API doc has no sentence that refuses them.
    """
    for parameter in model.parameters or ():
        if parameter.takes_files:
            _check_files(parameter, form)
        else:
            _check_value(parameter, form.text(parameter.id).strip())
    params = form.parameters(f"{base_url}/v1/File")
    params.pop(_CALLBACK, None)
    return RunRequest(
        model=model.slug,
        params=params,
        prompt=form.text("prompt"),
        callback_url=form.text(_CALLBACK),
        image=_stored(next(_images(model, form), None), media_cache),
        base_url=base_url,
    )


def _check_value(parameter: Parameter, text: str) -> None:
    if not text:
        if parameter.required and parameter.default is None:
            raise Refusal(VALIDATION, f"Request parameter [{parameter.id}] required")
        return
    if parameter.type == "range":
        _check_range(parameter, text)
    if parameter.options and text not in parameter.options:
        raise Refusal(VALIDATION, INVALID_BODY)


def _check_range(parameter: Parameter, text: str) -> None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise Refusal(VALIDATION, f"Request parameter [{parameter.id}] must be integer or float")
    if parameter.min is not None and parameter.max is not None and not parameter.min <= number <= parameter.max:
        limits = f"{parameter.min} and {parameter.max}"
        raise Refusal(VALIDATION, f"Request parameter [{parameter.id}] must be between {limits}")


def _check_files(parameter: Parameter, form: Form) -> None:
    """Check a file parameter X and, unless it is a `combinefileinput`, its twin `XUrl`.

    A form has both of the twins, one of them empty; a URL in X itself needs no twin. JSON needs none.
    """
    if parameter.type != "combinefileinput" and form.is_multipart:
        _check_twins(parameter.id, form)
    entries = list(_entries(parameter, form))
    if not entries and parameter.required:
        raise Refusal(VALIDATION, f"Request files [{parameter.id}] required")
    if parameter.type == "fileinput" and len(entries) > 1:
        raise Refusal(VALIDATION, INVALID_BODY)


def _check_twins(name: str, form: Form) -> None:
    if form.file(name) and f"{name}Url" not in form:
        raise Refusal(VALIDATION, f"Request parameter [{name}Url] required")
    if form.text(f"{name}Url") and name not in form:
        raise Refusal(VALIDATION, f"Request files [{name}] required")


def _entries(parameter: Parameter, form: Form) -> Iterator[FormFile | str]:
    """Yield the files and URLs of a file parameter."""
    for name in (parameter.id, *parameter.aliases):
        yield from form.values(name)
        if parameter.type != "combinefileinput":
            yield from (url.strip() for url in form.text(f"{name}Url").split(",") if url.strip())


def _images(model: Model, form: Form) -> Iterator[FormFile | str]:
    if model.parameters is not None:
        for parameter in model.parameters:
            if parameter.takes_files:
                yield from _entries(parameter, form)
        return
    for name in form.fields:
        for value in form.values(name) if name != _CALLBACK else ():
            if isinstance(value, FormFile):
                yield value
            elif isinstance(value, str) and value.startswith(("http://", "https://")):
                yield value.split(",")[0].strip()


def _stored(image: FormFile | str | None, media_cache: MediaCache) -> SourceImage:
    if isinstance(image, FormFile):
        return SourceImage(sha256=media_cache.store(image.body))
    return SourceImage(url=str(image)) if image else SourceImage()
