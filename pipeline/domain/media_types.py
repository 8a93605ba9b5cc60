"""The media types that outputs are stored with: an allow-list with file endings of ours. Pure.

A browser that opens an object shows it under the origin of the bucket. Types that can contain scripts (HTML, SVG, XML)
are not on the list; they, and all that are not known, are files to save. The first bytes of an output decide what it
is: the type that the vendor announces, the header of the server and the ending of a name can be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.domain.image_types import IMAGE_TYPES
from pipeline.domain.media_signatures import JSON, MARKUP, TEXT_PLAIN, is_error_document, is_json_value, sniff_media

BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
UNSPECIFIC = frozenset({"", BINARY, "binary/octet-stream"})
"""Types that do not describe the bytes. The second one is the default of S3."""
UNKNOWN_SUFFIX = ".bin"
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
    "application/x-subrip": ".srt",
    "audio/aiff": ".aiff",
    "audio/amr": ".amr",
    "audio/midi": ".mid",
    "image/heic": ".heic",
    "image/jp2": ".jp2",
    "image/jxl": ".jxl",
    "image/tiff": ".tif",
    "image/vnd.adobe.photoshop": ".psd",
    "image/x-exr": ".exr",
    "model/fbx": ".fbx",
    "model/obj": ".obj",
    "model/ply": ".ply",
    "model/stl": ".stl",
    "model/vnd.usdz+zip": ".usdz",
    "text/csv": ".csv",
    "text/vtt": ".vtt",
    "video/mp2t": ".ts",
    "video/mpeg": ".mpg",
    "video/x-flv": ".flv",
    "video/x-matroska": ".mkv",
    "video/x-ms-wmv": ".wmv",
    "video/x-msvideo": ".avi",
}
"""Files to save that keep their ending: common browsers cannot show them, or run what they contain."""
_UNSIGNED = frozenset(
    {"application/x-subrip", "model/fbx", "model/obj", "model/ply", "model/stl", "text/csv", "text/vtt"}
)
"""Those of them that may be text, or whose bytes have no signature."""
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
    "audio/x-aiff": "audio/aiff",
    "video/x-ms-asf": "video/x-ms-wmv",
    "application/srt": "application/x-subrip",
    "text/srt": "application/x-subrip",
    "application/x-zip-compressed": "application/zip",
}
_BY_SUFFIX = {suffix: media_type for media_type, suffix in _SUFFIXES.items()} | {".jpeg": "image/jpeg"}
_ENDINGS = {
    **_BY_SUFFIX,
    **{suffix: media_type for media_type, suffix in _SAVED_SUFFIXES.items()},
    **dict.fromkeys((".html", ".htm"), MARKUP),
    ".xhtml": "application/xhtml+xml",
    ".xml": "application/xml",
    ".svg": "image/svg+xml",
}
"""What the ending of a name announces. What may be shown is in `media_type_of`."""
_PAGES = frozenset({MARKUP, "application/xhtml+xml"})
_MARKUP_TYPES = (*_PAGES, "application/xml", "text/xml")
_SAME_BYTES = frozenset({("video/mp4", "audio/mp4"), ("application/zip", "model/vnd.usdz+zip")})
"""(found, expected): the first bytes are those of both types."""
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
    return StoredType(BINARY, _SAVED_SUFFIXES.get(known, UNKNOWN_SUFFIX))


def output_type(head: bytes, announced: str, *, names: Iterable[str] = (), sent: str = "") -> StoredType | str:
    """Return what a file is stored as, or what it is in place of that file, as the end of a sentence ("is …").

    `head`: its first SIGNATURE_BYTES, which decide. `announced`: the media type that it should have; if that names
    none, the endings of `names` count, and at last `sent`, the type by the server that sends it.
    """
    stated = [_plain(announced), *map(_type_by_ending, names)]
    expected = _first_specific(stated)
    if is_error_document(head, is_json=not expected) and not _PAGES.intersection(stated):
        return _refusal(sniff_media(head), expected)
    # The page of an error is sent with its own type, which announces nothing.
    expected = expected or _first_specific(["" if _is_markup(sent) else _plain(sent)])
    found = sniff_media(head)
    if found in _DESCRIPTIONS:
        is_value = (found, expected) == (TEXT_PLAIN, JSON) and is_json_value(head)
        if found not in _acceptable(expected) and not is_value:
            return _refusal(found, expected)
        return stored_type(expected or found)
    return stored_type(expected if (found, expected) in _SAME_BYTES else found)


def _refusal(found: str, expected: str) -> str:
    return f"is {_DESCRIPTIONS[found]}" + (f", not {expected}" if expected else "")


def _first_specific(media_types: Iterable[str]) -> str:
    return next((media_type for media_type in media_types if media_type not in UNSPECIFIC), "")


def _type_by_ending(name: str) -> str:
    _, dot, suffix = name.rpartition(".")
    return _ENDINGS.get(f"{dot}{suffix.lower()}", "")


def _acceptable(expected: str) -> tuple[str, ...]:
    """Return what a file that has no signature may be, '' for unknown bytes, if a type is `expected`."""
    if expected == JSON:
        return (JSON,)
    if _is_markup(expected):
        return (MARKUP, TEXT_PLAIN) if expected in _PAGES else (MARKUP,)
    if expected in _UNSIGNED:
        return ("", TEXT_PLAIN)
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
