"""What identifies a run that was bought: model, params, prompt and image, as one digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import structlog

from pipeline.domain.s3_names import is_below
from pipeline.errors import StorageError
from pipeline.ledger.records import BatchConfig
from pipeline.storage.s3 import Storage
from pipeline.wiro.values import to_param_text

_MAX_CONCURRENT_REQUESTS = 16
_DIGEST_CHARS = 32
_STORED_INPUT = re.compile(r"/inputs/([0-9a-f]{64})\.[a-z0-9]+$")

Identity = tuple[str, ...]
"""What identifies an image: ("sha256", digest), ("s3", uri, ETag) or ("url", text)."""
Identities = Mapping[str, Identity | StorageError | None]
"""image → what identifies it. None: it is not there; StorageError: S3 does not show it."""

log = structlog.get_logger()


class RunInput(Protocol):
    """An item of a manifest, of the ledger, or one that a worker holds."""

    @property
    def image(self) -> str | None: ...

    @property
    def prompt(self) -> str | None: ...

    @property
    def params(self) -> Mapping[str, Any]: ...


def reuse_key(config: BatchConfig, item: RunInput, images: Identities) -> str:
    """Return the digest of a run: equal for equal requests to the vendor; '' if its image is not identified.

    The model is compared without case, values as the text that the vendor receives; a parameter that is left out has
    the default of the model's schema.
    """
    image = images.get(item.image) if item.image else ()
    if not isinstance(image, tuple):
        return ""
    prompt = {} if item.prompt is None else {"prompt": item.prompt}
    given = {**config.defaults, **config.params, **item.params, **prompt}
    texts = {name: _canonical_text(value) for name, value in given.items()}
    parts = [config.model.lower(), texts, [config.image_field, *image] if image else None]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_DIGEST_CHARS]


def is_reuse_key(text: str) -> bool:
    """Return whether a text can be what `reuse_key` returns."""
    return len(text) == _DIGEST_CHARS and text.isascii() and text.isalnum()


def _canonical_text(value: Any) -> str:
    """Return a value as text, equal for equal values: the order of keys does not matter, and 5.0 is 5."""
    if not isinstance(value, dict | list):
        return to_param_text(value)
    return json.dumps(_with_plain_numbers(value), sort_keys=True, default=str)


def _with_plain_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _with_plain_numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def image_identities(
    images: Iterable[str],
    storage: Storage,
    outputs: Collection[str],
    *,
    folder: Path | None = None,
    etags: Mapping[str, str] | None = None,
    max_requests: int | None = None,
) -> Identities:
    """Return what identifies each image.

    `outputs`: prefixes that only this service writes to: the names of inputs below them are digests of their content.
    `folder`: the folder of image files. `etags`: of objects whose ETags are known. Others are requested concurrently,
    at most `max_requests`; the rest is not identified.
    """
    found: dict[str, Identity | StorageError | None] = {}
    unknown: list[str] = []
    for image in dict.fromkeys(images):
        if digest := stored_digest(image, outputs):
            found[image] = ("sha256", digest)
        elif etag := (etags or {}).get(image):
            found[image] = ("s3", image, etag)
        elif image.startswith("s3://"):
            unknown.append(image)
        else:
            found[image] = ("url", image) if "://" in image else _file_identity(folder, image)
    if unknown := unknown[:max_requests]:
        with ThreadPoolExecutor(_MAX_CONCURRENT_REQUESTS) as pool:
            found |= zip(unknown, pool.map(lambda image: _object_identity(storage, image), unknown), strict=True)
    return found


def stored_digest(image: str, outputs: Collection[str]) -> str | None:
    """Return the sha256 of an image that this service has stored under its digest, None for any other image."""
    match = _STORED_INPUT.search(image)
    return match[1] if match and is_below(image, outputs) else None


def _object_identity(storage: Storage, image: str) -> Identity | StorageError | None:
    try:
        # A 404 by mistake would buy it again.
        info = storage.confirmed_info(image)
    except StorageError as error:
        log.warning("image_version_unknown", image=image, error=str(error))
        return error
    return ("s3", image, info.etag) if info else None


def _file_identity(folder: Path | None, name: str) -> Identity | None:
    if folder is None:
        return None
    try:
        with (folder / name).open("rb") as source:
            return ("sha256", hashlib.file_digest(source, "sha256").hexdigest())
    except OSError:
        return None
