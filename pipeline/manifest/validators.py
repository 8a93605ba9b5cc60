"""The rules for single values of a manifest, as validators for pydantic. The models are in schema.py.

Each `validate_…` returns the value as it is used, or raises ValueError with what is right: "must be …, not …".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo

from pipeline.domain.durations import parse_duration
from pipeline.domain.ids import is_item_id
from pipeline.domain.image_types import IMAGE_SUFFIXES, NOT_AN_IMAGE, sniff_file
from pipeline.domain.money import MAX_USD
from pipeline.domain.s3_names import is_folder_uri, is_object_uri, lower_scheme
from pipeline.domain.system_files import ADVICE, is_system_file
from pipeline.domain.web_address import InvalidAddress, parse
from pipeline.errors import ID_RULE
from pipeline.manifest.uploaded_images import UploadedImages
from pipeline.manifest.yaml.decoder import MAX_PROBLEMS, shown

DEFAULT_MODEL = "minimax/image-to-video-hailuo-01-subject"
DEFAULT_IMAGE_FIELD = "inputImageFirst"
ROWS_SUFFIXES = (".csv", ".tsv", ".jsonl")

MAX_ITEMS = 200_000
MAX_PROMPT = 20_000
MAX_URL = 2048
MAX_PARAMS = 16_384
"""The maximum length of an item's params as JSON, in characters."""
MAX_PARAMS_DEPTH = 8
MAX_PARAM_NAME = 128
MAX_OUTPUT = 600
MAX_DEADLINE_S = 366 * 86_400

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IMAGE_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]\\]+)(:[0-9]{1,5})?([/?#]\S*)?")
_UNSEEN = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""Characters of no width that come with a copied address."""
_LOST_LETTERS = re.compile(
    r"\w*(?:\ufffd|\u00c3[\u0080-\u00bf\u0152-\u2039\u20ac\u2122]|\u00e2\u20ac[\u0080-\u00bf\u0152-\u2122])\w*"
)
"""The sign for a letter that could not be read, and UTF-8 that was read as Windows-1252: `Ã¤`, `â€œ`."""
_USD = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
_TOLERANCE = re.compile(r"[0-9]{1,6}|(100|[0-9]{1,2}(\.[0-9]{1,3})?)%")
_RESERVED_PARAMS = {
    "prompt": "write it as `prompt:` of the item",
    "callbackUrl": "the service sets it",
    "projectid": "the API key belongs to a project",
}
_SCALARS = frozenset({str, int, float, bool, type(None)})


@dataclass
class ValidationContext:
    """What the validators need besides the value.

    `image_field`: the model's field for an image. `files`: the folder of image files, or those that were uploaded; None
    if the manifest may not name files.
    """

    image_field: str
    files: Path | UploadedImages | None
    file_errors: dict[str, str] = field(default_factory=dict)
    """What is wrong with each file that was checked; '' if nothing is."""
    invalid_images: int = 0
    is_accepted: bool = False
    """Whether the manifest was accepted before: what came to be refused later does not keep it from being read."""

    def file_error(self, name: str, suffixes: tuple[str, ...]) -> str:
        """Return why `name` cannot be used as a file beside the manifest, '' if it can."""
        if name not in self.file_errors:
            folder = self.files if isinstance(self.files, Path) else None
            self.file_errors[name] = _file_error(name, suffixes, folder)
        return self.file_errors[name]


def context_of(
    manifest: object, files: Path | UploadedImages | None, *, is_accepted: bool = False
) -> ValidationContext:
    """Return the context for a manifest, or for a part of one, as it is written."""
    image_field = manifest.get("image_field") if isinstance(manifest, dict) else None
    field = image_field if isinstance(image_field, str) else DEFAULT_IMAGE_FIELD
    return ValidationContext(field, files, is_accepted=is_accepted)


def param_name_error(name: str, image_field: str) -> str:
    """Return why a param cannot have this name, '' if it can."""
    if name in _RESERVED_PARAMS:
        return f"cannot be a param: {_RESERVED_PARAMS[name]}"
    if name in (image_field, f"{image_field}Url"):
        return "cannot be a param: write the image as `image:` of the item"
    if not 0 < len(name) <= MAX_PARAM_NAME:
        return f"cannot be a param's name: it must have 1 to {MAX_PARAM_NAME} characters"
    return ""


def _context(info: ValidationInfo) -> ValidationContext:
    context: ValidationContext | None = info.context
    if context is None:
        raise TypeError("manifests are validated with a ValidationContext")
    return context


def _match(pattern: re.Pattern[str], text: str, must: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{must}, not {shown(text)}")
    return text


def validate_version(value: object) -> object:
    """Accept 1."""
    if isinstance(value, bool) or value != 1:
        raise ValueError(f"must be 1, the only version, not {shown(value)}")
    return value


def validate_name(text: str) -> str:
    """Accept what can be the first part of a batch id."""
    return _match(_NAME, text, "must be up to 63 lower-case letters, digits and '-', beginning with a letter or digit")


def is_model(text: str) -> bool:
    """Return whether a text is `owner/model`."""
    return _MODEL.fullmatch(text) is not None


def validate_model(text: str) -> str:
    """Accept `owner/model`."""
    return _match(_MODEL, text, "must be owner/model, as in https://wiro.ai/models/OWNER/MODEL")


def validate_output(text: str) -> str:
    """Accept `s3://bucket/prefix/`; add the last slash."""
    uri = lower_scheme(text if text.endswith("/") else f"{text}/")
    if not is_folder_uri(uri) or len(uri) > MAX_OUTPUT:
        raise ValueError(f"must be s3://bucket/prefix/, not {shown(text)}")
    return uri


def validate_image_field(text: str) -> str:
    """Accept the name of a model's field for an image."""
    if text in _RESERVED_PARAMS:
        raise ValueError(f"must be the model's field for an image, not {shown(text)}")
    return _match(_IMAGE_FIELD, text, "must be the name of a field: letters, digits and '_'")


def validate_usd(value: object) -> object:
    """Accept US dollars as text; a float has no exact cents."""
    text = str(value)
    if isinstance(value, bool) or not _USD.fullmatch(text) or not Decimal(text):
        raise ValueError(f'must be US dollars above 0, such as "25.00", not {shown(value)}')
    if Decimal(text) > MAX_USD:
        raise ValueError(f"must be at most {MAX_USD:,f} US dollars, not {shown(value)}")
    return Decimal(text)


def validate_tolerance(text: str) -> str:
    """Accept a number of items or a share of them, as written."""
    return _match(_TOLERANCE, text, "must be a number of items (10) or a share of them (10%)")


def validate_deadline(text: str) -> str:
    """Accept a duration of whole seconds, as written."""
    seconds = parse_duration(text)
    if seconds is None or not 0 < seconds <= MAX_DEADLINE_S or seconds % 1:
        raise ValueError(f"must be a time such as 90s, 30m, 2h or 1d, at most 366d, not {shown(text)}")
    return text


def validate_notify(text: str) -> str:
    """Accept the https:// address of a webhook; http:// for this machine only."""
    text = lower_scheme(text)
    if error := _url_error(text):
        raise ValueError(error)
    try:
        address = parse(text)
    except InvalidAddress as invalid:
        raise ValueError(f"must be an address such as https://example.com/hook; this {invalid}") from None
    if address.scheme == "http" and not _is_loopback(address.host):
        raise ValueError("must be https:// (http:// is for this machine only)")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def validate_items_from(text: str, info: ValidationInfo) -> str:
    """Accept a file or an S3 object of rows."""
    context = _context(info)
    text = lower_scheme(text)
    if error := _file_name_error(text):
        raise ValueError(error)
    if not text.lower().endswith(ROWS_SUFFIXES):
        raise ValueError(f"must be a file or s3:// object that ends in .csv, .tsv or .jsonl, not {shown(text)}")
    if text.startswith("s3://"):
        if not is_object_uri(text):
            raise ValueError(f"must be s3://bucket/key, not {shown(text)}")
        return text
    if "://" in text:
        raise ValueError("must be a file beside the manifest or an s3:// object")
    # A manifest on S3 has its rows beside it on S3: there is no file to check.
    error = context.file_error(text, ROWS_SUFFIXES) if isinstance(context.files, Path) else _path_error(text)
    if error:
        raise ValueError(error)
    return text


def validate_item_id(text: str) -> str:
    """Accept what can be the name of a folder and part of a Redis key."""
    if not is_item_id(text):
        raise ValueError(f"must be {ID_RULE}, not {shown(text)}")
    return text


def validate_image(text: str, info: ValidationInfo) -> str:
    """Accept the address of an image, or a file beside the manifest."""
    context = _context(info)
    text = lower_scheme(text)
    if not context.is_accepted and (error := _file_name_error(text)):
        raise ValueError(error)
    if isinstance(context.files, UploadedImages) and text and "://" not in text and not text.startswith("data:"):
        text = context.files.find(text)
        if text in context.files.missing:
            return text
    error = _image_error(text, context)
    if error:
        context.invalid_images += 1
        # No more than these are reported.
        if context.invalid_images <= MAX_PROBLEMS:
            raise ValueError(error)
    return text


def _file_name_error(text: str) -> str:
    """Return why a person did not make this file or object, or meant another address; '' if it can be."""
    if text.startswith(("https://", "http://")):
        return f"must be an address without characters of no width, not {shown(text)}" if _UNSEEN.search(text) else ""
    return f"is {shown(text)}: {ADVICE}" if is_system_file(text) else ""


def _image_error(text: str, context: ValidationContext) -> str:
    if text.startswith(("https://", "http://")):
        return "" if len(text) <= MAX_URL and _URL.fullmatch(text) else _url_error(text)
    if text.startswith("s3://"):
        return "" if is_object_uri(text) else f"must be s3://bucket/key, not {shown(text)}"
    if not text:
        return ""
    if "://" in text or text.startswith("data:"):
        return f"must be an https:// or s3:// address, or a file beside the manifest, not {shown(text)}"
    if context.files is None:
        return f"must be an https:// or s3:// address: only `dailies submit` sends files, and {shown(text)} is one"
    return context.file_error(text, IMAGE_SUFFIXES)


def _url_error(text: str) -> str:
    if len(text) > MAX_URL:
        return f"must have at most {MAX_URL} characters, not {len(text):,}"
    if "@" in text.partition("://")[2].partition("/")[0]:
        return "must be an address without user name and password"
    if not text.startswith(("https://", "http://")) or not _URL.fullmatch(text):
        return f"must be an address such as https://example.com/1.jpg, not {shown(text)}"
    return ""


def _path_error(name: str) -> str:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        with_slashes = name.replace("\\", "/")
        advice = f", written with '/': {shown(with_slashes)}" if "\\" in name else ""
        return f"must be a file in the manifest's folder or below it{advice}, not {shown(name)}"
    return "" if len(name) <= 1024 and name.isprintable() else "is not the name of a file"


def _file_error(name: str, suffixes: tuple[str, ...], folder: Path | None) -> str:
    if error := _path_error(name):
        return error
    is_image = suffixes is IMAGE_SUFFIXES
    must_end = f"must be a file that ends in {', '.join(suffixes[:-1])} or {suffixes[-1]}, not {shown(name)}"
    has_suffix = name.lower().endswith(suffixes)
    # The bytes of an image decide, whatever its name is.
    if folder is None or not (has_suffix or is_image):
        return must_end
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return f"must be a file in the manifest's folder or below it; {shown(name)} is a link out of it"
        if not path.is_file():
            return f"is a file that does not exist: {shown(str(path))}" if has_suffix else must_end
        if not path.stat().st_size:
            return f"is an empty file: {shown(str(path))}"
        error = _content_error(path) if is_image else ""
        return must_end if error == NOT_AN_IMAGE and not has_suffix else error and f"{shown(name)} {error}"
    except OSError as os_error:
        return f"is a file that cannot be read: {shown(str(path))}: {os_error.strerror}"


def _content_error(image: Path) -> str:
    with image.open("rb") as file:
        found = sniff_file(file)
    return found if isinstance(found, str) else ""


def validate_param_name(name: str, info: ValidationInfo) -> str:
    """Accept the name of a param that is not reserved."""
    if error := param_name_error(name, _context(info).image_field):
        raise ValueError(error)
    return name


def validate_param(value: Any) -> Any:
    """Accept the value of a param, nested to a bounded depth."""
    if type(value) not in _SCALARS and _depth(value) > MAX_PARAMS_DEPTH:
        raise ValueError(f"is nested too deeply: at most {MAX_PARAMS_DEPTH} levels")
    return value


def _depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, children), default=0)


def validate_params(params: dict[str, Any]) -> dict[str, Any]:
    """Accept the params of an item up to a total length."""
    if len(json.dumps(params, ensure_ascii=False)) > MAX_PARAMS:
        raise ValueError(f"are too long: at most {MAX_PARAMS:,} characters as JSON")
    return params


def validate_prompt(text: str, info: ValidationInfo) -> str:
    """Refuse a prompt with letters that a program has lost or read in a wrong encoding: it would be paid for."""
    if not text.isascii() and (lost := _LOST_LETTERS.search(text)) and not _context(info).is_accepted:
        raise ValueError(f"has {shown(lost[0])}, letters in a wrong encoding: correct them, or save the text as UTF-8")
    return text


def validate_entries(value: object) -> object:
    """Accept a list of text of bounded length, before its many entries are validated."""
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise ValueError(f"must have at most {MAX_ITEMS:,} entries, not {len(value):,}")
        if sum(type(entry) is not str for entry in value) > MAX_PROBLEMS:
            raise ValueError("must be a list of text")
    return value
