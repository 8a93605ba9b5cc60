"""The media types that outputs are stored with: an allow-list with file endings of ours. Pure.

A browser that opens an object shows it under the origin of the bucket. Types that can contain scripts (HTML, SVG, XML)
are not on the list; they, and all that are not known, are files to save. The first bytes of an output decide what it
is: the type that the vendor announces, the header of the server and the ending of a name can be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.domain.image_types import IMAGE_TYPES
from pipeline.domain.media_signatures import JSON, MARKUP, TEXT_PLAIN, sniff_media

BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
UNSPECIFIC = frozenset({"", BINARY, "binary/octet-stream"})
"""Types that do not describe the bytes. The second one is the default of S3."""
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
    TEXT_PLAIN: ".txt",
    JSON: ".json",
    "application/zip": ".zip",
}
_SAVED_SUFFIXES = {
    "application/pdf": ".pdf",
    "image/heic": ".heic",
    "video/mp2t": ".ts",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
}
"""Files to save that keep their ending: common browsers cannot show them, or run what they contain."""
_ALIASES = {
    "application/mp4": "video/mp4",
    "video/x-m4v": "video/mp4",
    "image/jpg": "image/jpeg",
    "image/heif": "image/heic",
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
_MARKUP_SUFFIXES = (".html", ".htm", ".xhtml", ".xml", ".svg")
_MARKUP_TYPES = (MARKUP, "application/xml", "text/xml")
_DESCRIPTIONS = {
    MARKUP: "an HTML or XML document",
    JSON: "a JSON document",
    TEXT_PLAIN: "a text",
    "": "a file of an unknown format",
}


@dataclass(frozen=True)
class StoredType:
    """The media type and file ending of an object."""

    media_type: str
    suffix: str


def stored_type(media_type: str) -> StoredType:
    """Return what a file of `media_type` is stored as."""
    known = _plain(media_type)
    if known in _SUFFIXES:
        return StoredType(TEXT if known == TEXT_PLAIN else known, _SUFFIXES[known])
    return StoredType(BINARY, _SAVED_SUFFIXES.get(known, ".bin"))


def output_type(head: bytes, announced: str, *, names: Iterable[str] = (), sent: str = "") -> StoredType | str:
    """Return what a file is stored as, or what it is in place of that file, as the end of a sentence ("is …").

    `head`: its first SIGNATURE_BYTES, which decide. `announced`: the media type that it should have; if that says
    nothing, the endings of `names` count, and at last `sent`, the type by the server that sends it.
    """
    expected = _expected(announced, names, sent)
    found = sniff_media(head)
    if found in _DESCRIPTIONS:
        if found in _acceptable(expected):
            return stored_type(expected or found)
        return f"is {_DESCRIPTIONS[found]}" + (f", not {expected}" if expected else "")
    # The brands of an MP4 do not show that it has sound only.
    return stored_type(expected if (found, expected) == ("video/mp4", "audio/mp4") else found)


def _expected(announced: str, names: Iterable[str], sent: str) -> str:
    # The page of an error is sent with its own type, which announces nothing.
    types = (announced, *map(_type_by_ending, names), "" if _is_markup(sent) else sent)
    return next((plain for plain in map(_plain, types) if plain not in UNSPECIFIC), "")


def _type_by_ending(name: str) -> str:
    return MARKUP if name.lower().endswith(_MARKUP_SUFFIXES) else media_type_of(name)


def _acceptable(expected: str) -> tuple[str, ...]:
    """Return what a file that has no signature may be, '' for unknown bytes, if a type is `expected`."""
    if expected == JSON:
        return (JSON, TEXT_PLAIN)
    if _is_markup(expected):
        return (MARKUP, TEXT_PLAIN)
    if expected.startswith("text/"):
        return (TEXT_PLAIN, JSON, MARKUP)
    if expected in _SUFFIXES or expected in _SAVED_SUFFIXES:
        return ()
    return ("",) if expected.startswith(("image/", "video/", "audio/")) else ("", TEXT_PLAIN, JSON)


def _is_markup(media_type: str) -> bool:
    plain = _plain(media_type)
    return plain in _MARKUP_TYPES or plain.endswith("+xml")


def _plain(media_type: str) -> str:
    plain = media_type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def media_type_of(name: str) -> str:
    """Return the media type of a file by the ending of its name, '' if it is not on the list."""
    _, dot, suffix = name.rpartition(".")
    return _BY_SUFFIX.get(f"{dot}{suffix.lower()}", "")


def is_picture(media_type: str) -> bool:
    """Return whether a media type is that of an image or a video on the list."""
    plain = _plain(media_type)
    return plain in _SUFFIXES and plain.startswith(("image/", "video/"))
