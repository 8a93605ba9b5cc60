"""What a file is, by its first bytes: a media type, or the kind of text that it is. Pure.

`image_types` recognises the images. The other signatures are those of RFC 9559 (Matroska), ISO 14496-12 (MP4),
ISO 13818-1 (MPEG-TS), ISO 11172-3 (MP3), of the WHATWG's MIME Sniffing Standard and of the media types at IANA.
"""

from __future__ import annotations

import re

from pipeline.domain.image_types import ImageType, brands, is_heic, is_html, markup, sniff_image

TEXT_PLAIN = "text/plain"
JSON = "application/json"
MARKUP = "text/html"
"""HTML, SVG and XML: what a server sends in place of a file, and what a browser runs."""
_PREFIXES = {
    b"ID3": "audio/mpeg",
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"glTF": "model/gltf-binary",
    b"%PDF-": "application/pdf",
    b"PK\x03\x04": "application/zip",
    b"PK\x05\x06": "application/zip",
    b"FLV\x01": "video/x-flv",
    b"\0\0\x01\xba": "video/mpeg",
    b"\0\0\x01\xb3": "video/mpeg",
    b"0&\xb2u\x8ef\xcf\x11": "video/x-ms-wmv",
    b"MThd": "audio/midi",
    b"#!AMR": "audio/amr",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"8BPS": "image/vnd.adobe.photoshop",
    b"\0\0\0\x0cJXL ": "image/jxl",
    b"\0\0\0\x0cjP  ": "image/jp2",
    b"v/1\x01": "image/x-exr",
    b"Kaydara FBX Binary": "model/fbx",
}
_RIFF = {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_IFF = {b"AIFF": "audio/aiff", b"AIFC": "audio/aiff"}
_EBML = b"\x1aE\xdf\xa3"
_QUICKTIME_BOXES = (b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""First boxes of a QuickTime file of the time before `ftyp`."""
_FRAGMENT_BOXES = (b"styp", b"moof", b"sidx")
_TS_PACKET, _TS_SYNC = 188, b"G"
_BINARY_BYTES = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has (MIME Sniffing Standard)."""
_JSON_ERROR = re.compile(rb'\{\s*"(error|errors|message|detail|code|fault)"')
_JSON_VALUE = re.compile(rb'["-]|\d|true|false|null')
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def sniff_media(head: bytes) -> str:
    """Return the media type of a file that begins with `head` (SIGNATURE_BYTES), '' if it is not known.

    Of a text the type is MARKUP, JSON or TEXT_PLAIN. An MP4 with sound only may have the brands of a video.
    """
    image = sniff_image(head)
    if isinstance(image, ImageType):
        return image.media_type
    if is_heic(head):
        return "image/heic"
    return _binary_type(head) or _text_type(head)


def is_format(found: str) -> bool:
    """Return whether `found`, of `sniff_media`, is the type of a file with a signature, not of a text."""
    return found not in ("", MARKUP, JSON, TEXT_PLAIN)


def is_error_document(head: bytes, *, is_json: bool) -> bool:
    """Return whether a file that begins with `head` is what servers send in place of a file: a page, an error of S3.

    `is_json`: or a JSON object that begins with an error. Announced as JSON, that is a result.
    """
    return is_html(head) or markup(head).startswith(b"<error>") or bool(is_json and _JSON_ERROR.match(markup(head)))


def is_json_value(head: bytes) -> bool:
    """Return whether a text that begins with `head` may be a JSON string, number or constant."""
    return bool(_JSON_VALUE.match(markup(head)))


def _binary_type(head: bytes) -> str:
    for prefix, media_type in _PREFIXES.items():
        if head.startswith(prefix):
            return media_type
    if head.startswith((b"RIFF", b"RF64")):
        return _RIFF.get(head[8:12], "")
    if head.startswith(b"FORM"):
        return _IFF.get(head[8:12], "")
    if head.startswith(_EBML):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return _iso_type(head) or _mpeg_type(head)


def _iso_type(head: bytes) -> str:
    """Return the type of a file of boxes, by the major brand or else by the name of its first box."""
    box = head[4:8]
    if box in _QUICKTIME_BOXES or (brands(head) and head[8:12] == b"qt  "):
        return "video/quicktime"
    if brands(head) and head[8:11] in (b"M4A", b"M4B", b"F4A"):
        return "audio/mp4"
    return "video/mp4" if brands(head) or box in _FRAGMENT_BOXES else ""


def _mpeg_type(head: bytes) -> str:
    # A packet of a Blu-ray or a camera (M2TS) has four bytes more before it.
    for start, distance in ((0, _TS_PACKET), (4, _TS_PACKET + 4)):
        syncs = head[start::distance]
        if len(syncs) > 1 and syncs == _TS_SYNC * len(syncs):
            return "video/mp2t"
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return ""
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    is_layer_2_or_3 = head[1] & 0x06 in (0x02, 0x04)
    is_header = head[1] & 0x18 != 0x08 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C
    return "audio/mpeg" if is_layer_2_or_3 and is_header else ""


def _text_type(head: bytes) -> str:
    if head.startswith(_UTF16):
        head = head.decode("utf-16", "ignore").encode("utf-8", "replace")
    if not head or _BINARY_BYTES.search(head):
        return ""
    text = markup(head)
    # Nothing but blanks or a comment: the page of an error begins behind it.
    if re.match(rb"<[a-z!?/]", text) or not text:
        return MARKUP
    return JSON if text.startswith((b"{", b"[")) else TEXT_PLAIN
