"""The media types that outputs are stored with: an allow-list with file endings of ours. Pure.

A browser that opens an object shows it under the origin of the bucket. Types that can contain scripts (HTML, SVG, XML)
are not on the list; they, and all that are not known, are files to save.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.domain.image_types import IMAGE_TYPES

BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
UNSPECIFIC = frozenset({"", BINARY, "binary/octet-stream"})
"""Types that say nothing about the bytes. The second one is the default of S3."""
_SUFFIXES = {
    **{media_type: suffix for suffix, media_type in IMAGE_TYPES.items() if suffix != ".jpeg"},
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/aac": ".aac",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "model/gltf-binary": ".glb",
    "text/plain": ".txt",
    "application/json": ".json",
    "application/zip": ".zip",
}
_ALIASES = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/x-flac": "audio/flac",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "application/x-zip-compressed": "application/zip",
}
_BY_SUFFIX = {suffix: media_type for media_type, suffix in _SUFFIXES.items()} | {".jpeg": "image/jpeg"}


@dataclass(frozen=True)
class StoredType:
    """The media type and file ending of an object."""

    media_type: str
    suffix: str


def stored_type(media_type: str, name: str = "") -> StoredType:
    """Return what a file is stored as. If `media_type` says nothing, the ending of its `name` decides."""
    plain = media_type.partition(";")[0].strip().lower()
    known = media_type_of(name) if plain in UNSPECIFIC else _ALIASES.get(plain, plain)
    suffix = _SUFFIXES.get(known)
    if suffix is None:
        return StoredType(BINARY, ".bin")
    return StoredType(TEXT if known == "text/plain" else known, suffix)


def media_type_of(name: str) -> str:
    """Return the media type of a file by the ending of its name, '' if it is not on the list."""
    _, dot, suffix = name.rpartition(".")
    return _BY_SUFFIX.get(f"{dot}{suffix.lower()}", "")


def is_picture(media_type: str) -> bool:
    """Return whether a media type is that of an image or a video on the list."""
    plain = media_type.partition(";")[0].strip().lower()
    return plain in _SUFFIXES and plain.startswith(("image/", "video/"))
