"""The body of a Run: parameters, and the image in the field and the way that its type needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.wiro.model_schema import URL_KIND, ImageField
from pipeline.wiro.multipart import Body, FileSource, form_body, json_body

_KIND_WITHOUT_TWIN = "combinefileinput"
_KIND_WITH_LIST = "multifileinput"


@dataclass(frozen=True)
class RunImage:
    """The image of a run: a URL, or a file to send. A field of URL_KIND takes no file."""

    field: ImageField
    url: str | None
    file: FileSource | None


def run_body(params: Mapping[str, Any], image: RunImage | None) -> Body:
    """Return the body of a Run. The image replaces a parameter in its field.

    API doc: a file is sent in X and a URL in XUrl, and a form needs the other one too, empty. `combinefileinput` takes
    both in X and has no XUrl. A text parameter takes the URL as it is.
    """
    if image is None:
        return json_body(params)
    name, twin, kind = image.field.name, f"{image.field.name}Url", image.field.kind
    rest = {key: value for key, value in params.items() if key not in (name, twin)}
    if kind == URL_KIND:
        return json_body({**rest, name: image.url or ""})
    if kind == _KIND_WITHOUT_TWIN:
        return form_body(rest, name, image.file) if image.file else form_body({name: image.url or "", **rest})
    if image.file:
        return form_body({twin: "", **rest}, name, image.file)
    url = image.url or ""
    # The vendor splits a list of URLs at commas.
    return form_body({name: "", twin: url.replace(",", "%2C") if kind == _KIND_WITH_LIST else url, **rest})
