"""The rules for what stands in a manifest, value by value, as validators for pydantic.

Each `right_…` answers the value as it is used, or raises a ValueError that says what would be right. Nothing here knows
pydantic's models; they are in manifest_schema.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationInfo

from pipeline.manifest.yaml.decoder import MAX_PROBLEMS, shown

DEFAULT_MODEL = "minimax/image-to-video-hailuo-01-subject"
DEFAULT_IMAGE_FIELD = "inputImageFirst"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif")
ROWS_SUFFIXES = (".csv", ".jsonl")

MAX_ITEMS = 200_000
MAX_PROMPT = 20_000
MAX_URL = 2048
MAX_PARAMS = 16_384
"""How long the params of an item may be as JSON, in characters."""
MAX_PARAMS_DEPTH = 8
MAX_PARAM_NAME = 128

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ITEM_ID = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_IMAGE_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_BUCKET = r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}/"
_OUTPUT = re.compile(_BUCKET + r"([^/\\]+/)*")
# Some stores take '..' in a key for a way up, out of the bucket.
_OBJECT = re.compile(r"(?!.*/\.\.?(/|$))" + _BUCKET + r"[^\x00-\x1f\x7f]{1,1024}")
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]\\]+)(:[0-9]{1,5})?([/?#]\S*)?")
_USD = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
_TOLERANCE = re.compile(r"[0-9]{1,6}|(100|[0-9]{1,2}(\.[0-9]{1,3})?)%")
_DEADLINE = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_DEADLINE_S = 366 * 86_400
_OURS = {
    "prompt": "write it as `prompt:` of the item",
    "callbackUrl": "the service sets it",
    "projectid": "the API key says which project it is",
}
_SIMPLE = frozenset({str, int, float, bool, type(None)})


@dataclass
class ValidationContext:
    """What the right values depend on besides themselves: the model's image field, and the files beside the manifest.

    `folder` is where files may lie; None: the manifest came from elsewhere and may name none.
    """

    image_field: str
    folder: Path | None
    verdicts: dict[str, str] = field(default_factory=dict)
    """What is wrong with each file that was looked at; '' when nothing is."""
    wrong_images: int = 0

    def fault_of_file(self, name: str, suffixes: tuple[str, ...]) -> str:
        """Why `name` cannot be used as a file beside the manifest, '' when it can."""
        if name not in self.verdicts:
            self.verdicts[name] = _fault_of_file(name, suffixes, self.folder)
        return self.verdicts[name]


def fault_of_param(name: str, image_field: str) -> str:
    """Why a param cannot have this name, '' when it can."""
    if name in _OURS:
        return f"cannot be a param: {_OURS[name]}"
    if name in (image_field, f"{image_field}Url"):
        return "cannot be a param: write the image as `image:` of the item"
    if not 0 < len(name) <= MAX_PARAM_NAME:
        return f"cannot be a param's name: it has 1 to {MAX_PARAM_NAME} characters"
    return ""


def _around(info: ValidationInfo) -> ValidationContext:
    around: ValidationContext | None = info.context
    if around is None:
        raise TypeError("manifests are validated with their Surroundings as context")
    return around


def validate_version(value: object) -> object:
    """The only version."""
    if isinstance(value, bool) or value != 1:
        raise ValueError(f"must be 1, the only version that there is, not {shown(value)}")
    return value


def validate_name(text: str) -> str:
    """The name of a batch."""
    return _matching(
        _NAME, text, "must be up to 63 lower-case letters, digits and '-', beginning with a letter or digit"
    )


def validate_model(text: str) -> str:
    """`owner/model` at the vendor."""
    return _matching(_MODEL, text, "must be owner/model, as in https://wiro.ai/models/OWNER/MODEL")


def validate_output(text: str) -> str:
    """`s3://bucket/prefix/`, with its closing slash."""
    text = text if text.endswith("/") else f"{text}/"
    steps = text.split("/")[3:-1]
    if not _OUTPUT.fullmatch(text) or "." in steps or ".." in steps or len(text) > 600 or not text.isprintable():
        raise ValueError(f"must be s3://bucket/prefix/, not {shown(text)}")
    return text


def validate_image_field(text: str) -> str:
    """The model's field for an image."""
    if text in _OURS:
        raise ValueError(f"must be the model's field for an image, not {shown(text)}")
    return _matching(_IMAGE_FIELD, text, "must be the name of a field: letters, digits and '_'")


def _matching(pattern: re.Pattern[str], text: str, must: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{must}, not {shown(text)}")
    return text


def validate_usd(value: object) -> object:
    """Money as text: a float has no exact cents."""
    text = str(value)
    if isinstance(value, bool) or not _USD.fullmatch(text) or not Decimal(text):
        raise ValueError(f'must be US dollars above 0, such as "25.00", not {shown(value)}')
    return Decimal(text)


def validate_tolerance(text: str) -> str:
    """A number of items or a share of them, as written."""
    return _matching(_TOLERANCE, text, "must be a number of items (10) or a share of them (10%)")


def validate_deadline(text: str) -> str:
    """A time as written; `seconds_of` has it in seconds."""
    match = _DEADLINE.fullmatch(text)
    if not match or not 0 < int(match[1]) * _SECONDS[match[2]] <= _MAX_DEADLINE_S:
        raise ValueError(f"must be a time such as 90s, 30m, 2h or 1d, at most 366d, not {shown(text)}")
    return text


def seconds_of(deadline: str) -> float:
    """A deadline as written ("2h") in seconds."""
    return float(int(deadline[:-1]) * _SECONDS[deadline[-1]])


def validate_notify(text: str) -> str:
    """The address that is told of a batch's end."""
    fault = _fault_of_url(text)
    if not fault and text.startswith("http:"):
        host = urlsplit(text).hostname or ""
        if host not in ("localhost", "::1") and not host.startswith("127."):
            fault = "must be https:// (http:// is for this machine only)"
    if fault:
        raise ValueError(fault)
    return text


def validate_items_from(text: str, info: ValidationInfo) -> str:
    """A file or object of rows."""
    around = _around(info)
    if not text.lower().endswith(ROWS_SUFFIXES):
        raise ValueError(f"must be a file or s3:// object that ends in .csv or .jsonl, not {shown(text)}")
    if text.startswith("s3://"):
        return _matching(_OBJECT, text, "must be s3://bucket/key")
    if "://" in text:
        raise ValueError("must be a file beside the manifest or an s3:// object")
    # A manifest on S3 has its rows beside it; whoever reads them knows what may be read.
    fault = around.fault_of_file(text, ROWS_SUFFIXES) if around.folder is not None else _fault_of_path(text)
    if fault:
        raise ValueError(fault)
    return text


def validate_item_id(text: str) -> str:
    """An id that can be a folder's name and part of a key in Redis."""
    must = "must be up to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit, without '..'"
    return text if _ITEM_ID.fullmatch(text) else _matching(_ITEM_ID, text, must)


def validate_image(text: str, info: ValidationInfo) -> str:
    """An image by its address, or a file beside the manifest."""
    around = _around(info)
    fault = _fault_of_image(text, around)
    if fault:
        around.wrong_images += 1
        # No more of them would be told.
        if around.wrong_images <= MAX_PROBLEMS:
            raise ValueError(fault)
    return text


def _fault_of_image(text: str, around: ValidationContext) -> str:
    if text.startswith(("https://", "http://")):
        return "" if len(text) <= MAX_URL and _URL.fullmatch(text) else _fault_of_url(text)
    if text.startswith("s3://"):
        return "" if _OBJECT.fullmatch(text) else f"must be s3://bucket/key, not {shown(text)}"
    if not text:
        return ""
    if "://" in text or text.startswith("data:"):
        return f"must be an https:// or s3:// address, or a file beside the manifest, not {shown(text)}"
    if around.folder is None:
        return f"must be an https:// or s3:// address: only `dailies submit` sends files, and {shown(text)} is one"
    return around.fault_of_file(text, IMAGE_SUFFIXES)


def _fault_of_url(text: str) -> str:
    if len(text) > MAX_URL:
        return f"must have at most {MAX_URL} characters, not {len(text):,}"
    if "@" in text.partition("://")[2].partition("/")[0]:
        return "must be an address without user name and password"
    if not text.startswith(("https://", "http://")) or not _URL.fullmatch(text):
        return f"must be an address such as https://example.com/1.jpg, not {shown(text)}"
    return ""


def _fault_of_path(name: str) -> str:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        return f"must be a file in the manifest's folder or below it, not {shown(name)}"
    return "" if len(name) <= 1024 and name.isprintable() else "is not the name of a file"


def _fault_of_file(name: str, suffixes: tuple[str, ...], folder: Path | None) -> str:
    if fault := _fault_of_path(name):
        return fault
    if folder is None or not name.lower().endswith(suffixes):
        return f"must be a file that ends in {', '.join(suffixes[:-1])} or {suffixes[-1]}, not {shown(name)}"
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return f"must be a file in the manifest's folder or below it; {shown(name)} is a link out of it"
        if not path.is_file():
            return f"is a file that is not there: {shown(str(path))}"
        return "" if path.stat().st_size else f"is an empty file: {shown(str(path))}"
    except OSError as error:
        return f"is a file that cannot be read: {shown(str(path))}: {error.strerror}"


def validate_param_name(name: str, info: ValidationInfo) -> str:
    """The name of a param."""
    around = _around(info)
    if fault := fault_of_param(name, around.image_field):
        raise ValueError(fault)
    return name


def validate_param(value: Any) -> Any:
    """The value of a param."""
    if type(value) not in _SIMPLE and _depth(value) > MAX_PARAMS_DEPTH:
        raise ValueError(f"is nested too deeply: at most {MAX_PARAMS_DEPTH} levels")
    return value


def _depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, children), default=0)


def validate_params(params: dict[str, Any]) -> dict[str, Any]:
    """All params of an item."""
    if len(json.dumps(params, ensure_ascii=False)) > MAX_PARAMS:
        raise ValueError(f"are too long: at most {MAX_PARAMS:,} characters as JSON")
    return params


def validate_entries(value: object) -> object:
    """A list is looked at before its entries are: they are many."""
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise ValueError(f"must have at most {MAX_ITEMS:,} entries, not {len(value):,}")
        if sum(type(entry) is not str for entry in value) > MAX_PROBLEMS:
            raise ValueError("must be a list of text")
    return value
