"""The first bytes of an output decide what it is, whatever the vendor, a server or a name states."""

from __future__ import annotations

import pytest
from support.images import HTML, SIGNATURES
from support.media import a_video, an_image

from pipeline.domain.image_types import SIGNATURE_BYTES
from pipeline.domain.media_types import StoredType, output_type

BOM = b"\xef\xbb\xbf"
S3_ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
PAGES = [
    HTML,
    HTML.lower(),
    BOM + HTML,
    b"\r\n \t" * 30 + HTML,
    b"<!-- cached -->\n<html>",
    "<html>ü".encode("utf-16"),
    S3_ERROR,
    BOM + S3_ERROR,
    b"<Error><Code>NoSuchKey</Code></Error>",
    b" " * SIGNATURE_BYTES + HTML,
]
ERRORS = [
    *PAGES,
    b'{"error": "expired"}',
    BOM + b' \n[{"error": 1}]',
    b"Forbidden",
    bytes(range(256)),
]


BRANDS = (b"isom", b"mp42", b"iso6", b"dash", b"avc1", b"M4V ", b"MSNV", b"XAVC", b"3gp5", b"f4v ")


SAVED = {
    ".flv": b"FLV\x01\x05",
    ".mpg": b"\0\0\x01\xb3" + bytes(20),
    ".wmv": b"0&\xb2u\x8ef\xcf\x11\xa6\xd9",
    ".mid": b"MThd\0\0\0\6",
    ".amr": b"#!AMR\n",
    ".aiff": b"FORM\0\0\0\x2eAIFFCOMM",
    ".tif": b"MM\0*\0\0",
    ".psd": b"8BPS\0\1",
    ".jxl": b"\0\0\0\x0cJXL \r\n",
    ".jp2": b"\0\0\0\x0cjP  \r\n",
    ".exr": b"v/1\x01\2\0\0\0",
    ".fbx": b"Kaydara FBX Binary  \0",
}
"""Known formats that are files to save."""


def mp4(brand: bytes, *compatible: bytes) -> bytes:
    size = (16 + 4 * len(compatible)).to_bytes(4)
    return size + b"ftyp" + brand + bytes(4) + b"".join(compatible) + b"\0\0\0\x08free"


def judged(data: bytes, announced: str = "", name: str = "", sent: str = "") -> StoredType | str:
    return output_type(data[:SIGNATURE_BYTES], announced, names=[name], sent=sent)


@pytest.mark.parametrize("announced", ["", "application/octet-stream", "video/mp4", "image/png", "text/html", "x/y"])
@pytest.mark.parametrize(
    ("data", "media_type", "suffix"),
    [
        *((mp4(brand), "video/mp4", ".mp4") for brand in BRANDS),
        (mp4(b"isom", b"isom", b"iso2", b"avc1", b"mp41"), "video/mp4", ".mp4"),
        (b"\0\0\0\x18styp" + b"msdh" + bytes(12), "video/mp4", ".mp4"),
        (mp4(b"qt  ", b"qt  "), "video/quicktime", ".mov"),
        (b"\0\0\0\x08wide\0\0\x10\0mdat", "video/quicktime", ".mov"),
        (mp4(b"M4A ", b"isom", b"mp42"), "audio/mp4", ".m4a"),
        (b"ID3\x04\0\0", "audio/mpeg", ".mp3"),
        (b"\xff\xfb\x90\x64" + bytes(400), "audio/mpeg", ".mp3"),
        (b"\xff\xf1\x50\x80" + bytes(400), "audio/aac", ".aac"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav", ".wav"),
        (b"fLaC\0\0\0\x22", "audio/flac", ".flac"),
        (b"OggS\0\x02", "audio/ogg", ".ogg"),
        (b"PK\x03\x04\x14\0", "application/zip", ".zip"),
        (b"glTF\x02\0\0\0", "model/gltf-binary", ".glb"),
        (b"%PDF-1.7\n", "application/octet-stream", ".pdf"),
        (mp4(b"heic", b"mif1", b"heic"), "application/octet-stream", ".heic"),
        *((data, "application/octet-stream", suffix) for suffix, data in SAVED.items()),
        *((data, f"image/{suffix.strip('.').replace('jpg', 'jpeg')}", suffix) for suffix, data in SIGNATURES.items()),
    ],
)  # fmt: skip
def test_a_known_format_is_kept_with_its_own_type_whatever_was_announced(
    announced: str, data: bytes, media_type: str, suffix: str
) -> None:
    assert judged(data, announced) == StoredType(media_type, suffix)


def test_files_that_encoders_write_are_recognised() -> None:
    assert judged(a_video()) == StoredType("video/mp4", ".mp4")
    assert judged(a_video(container="mov")) == StoredType("video/quicktime", ".mov")
    assert judged(a_video(container="webm", codec="libvpx")) == StoredType("video/webm", ".webm")
    assert judged(a_video(container="matroska")) == StoredType("application/octet-stream", ".mkv")
    assert judged(a_video(container="avi", codec="mpeg4")) == StoredType("application/octet-stream", ".avi")
    assert judged(a_video(container="mpegts")) == StoredType("application/octet-stream", ".ts")
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"):
        assert judged(an_image((8, 8), kind)) == StoredType(*_image_type(kind))


def _image_type(kind: str) -> tuple[str, str]:
    return f"image/{kind.lower()}", ".jpg" if kind == "JPEG" else f".{kind.lower()}"


@pytest.mark.parametrize("data", ERRORS)
@pytest.mark.parametrize(
    ("announced", "name", "sent"),
    [
        ("video/mp4", "0.mp4", ""),
        ("video/mp4", "", "video/mp4"),
        ("application/mp4", "", ""),
        ("image/png", "", ""),
        ("audio/mpeg", "", ""),
        ("application/zip", "", ""),
        ("application/pdf", "", ""),
        ("model/gltf-binary", "", ""),
        ("", "0.mp4", "text/html"),
        ("", "/f/0.MP4", "application/octet-stream"),
        ("application/octet-stream", "0.webm", "application/json"),
        ("binary/octet-stream", "0.png", ""),
        ("", "", "video/mp4"),
    ],
)
def test_an_error_document_is_no_media_file(data: bytes, announced: str, name: str, sent: str) -> None:
    assert isinstance(judged(data, announced, name, sent), str)


@pytest.mark.parametrize("data", PAGES)
def test_a_page_that_nothing_has_announced_is_an_error_of_its_server(data: bytes) -> None:
    for announced in ("", "application/octet-stream"):
        for sent in ("", "text/html; charset=utf-8", "application/xml"):
            assert isinstance(judged(data, announced, "0", sent), str)


@pytest.mark.parametrize(
    ("data", "announced", "name", "media_type", "suffix"),
    [
        (b'{"a": 1}', "application/json", "", "application/json", ".json"),
        (b'"a"', "application/json; charset=utf-8", "", "application/json", ".json"),
        (b'{"a": 1}', "", "0.json", "application/json", ".json"),
        (b'{"a": 1}', "", "", "application/json", ".json"),
        (b'{"a": 1}', "text/plain", "", "text/plain; charset=utf-8", ".txt"),
        ("Grüße".encode(), "text/plain", "", "text/plain; charset=utf-8", ".txt"),
        ("Grüße".encode("latin-1"), "text/plain", "", "text/plain; charset=utf-8", ".txt"),
        (b"Hello", "", "", "text/plain; charset=utf-8", ".txt"),
        (HTML, "text/plain", "0.html", "text/plain; charset=utf-8", ".txt"),
        (HTML, "text/html", "page.html", "application/octet-stream", ".bin"),
        (HTML, "text/html", "0.mp4", "application/octet-stream", ".bin"),
        (HTML, "", "page.html", "application/octet-stream", ".bin"),
        (b"<svg/>", "image/svg+xml", "0.svg", "application/octet-stream", ".bin"),
        (b"<svg/>", "", "0.svg", "application/octet-stream", ".bin"),
        (b"a,b\n1,2\n", "text/csv", "0.csv", "application/octet-stream", ".csv"),
        (b"1\n00:00:00,000 --> 00:00:01,000\nHi\n", "", "0.srt", "application/octet-stream", ".srt"),
        (b"WEBVTT\n", "application/octet-stream", "0.vtt", "application/octet-stream", ".vtt"),
        (b"v 1 2 3\n", "model/obj", "0.obj", "application/octet-stream", ".obj"),
        (bytes(80) + b"\1\0\0\0", "", "0.stl", "application/octet-stream", ".stl"),
        (b"PK\x03\x04\x0a\0", "model/vnd.usdz+zip", "0.usdz", "application/octet-stream", ".usdz"),
        (b"PK\x03\x04\x0a\0", "", "0.usdz", "application/octet-stream", ".usdz"),
        (b"null", "application/json", "", "application/json", ".json"),
        (b"-1.5", "application/json", "", "application/json", ".json"),
        (b"\0\1\2", "application/x-safetensors", "0.safetensors", "application/octet-stream", ".bin"),
        (b"\0\1\2", "", "0.safetensors", "application/octet-stream", ".bin"),
        (b"\0\1\2", "video/unknown", "", "application/octet-stream", ".bin"),
    ],
)
def test_texts_and_unknown_files_are_kept_as_they_were_announced(
    data: bytes, announced: str, name: str, media_type: str, suffix: str
) -> None:
    assert judged(data, announced, name) == StoredType(media_type, suffix)


@pytest.mark.parametrize(
    ("data", "announced"),
    [
        (HTML, "application/json"),
        (HTML, "text/plain"),
        (HTML, "image/svg+xml"),
        (HTML, "application/xml"),
        (S3_ERROR, "image/svg+xml"),
        (S3_ERROR, "text/plain"),
        (b"Forbidden", "application/json"),
        (b"Forbidden", "image/svg+xml"),
        (b'{"error": "expired"}', "text/csv"),
        (b'{"error": "expired"}', "model/obj"),
        (b"\0\1", "text/plain"),
        (b"7z\xbc\xaf\x27\x1c", "application/json"),
        (b"{}", "a/x+xml"),
    ],
)
def test_a_text_of_another_kind_is_refused(data: bytes, announced: str) -> None:
    assert isinstance(judged(data, announced), str)


@pytest.mark.parametrize("sent", ["", "application/json", "text/plain"])
def test_an_error_in_json_that_nothing_has_announced_is_no_result(sent: str) -> None:
    for data in (b'{"error": "expired"}', BOM + b'{\n "message": "Not found", "code": 404}'):
        assert isinstance(judged(data, "application/octet-stream", "0", sent), str)
    assert judged(b'{"error": null}', "application/json") == StoredType("application/json", ".json")


def test_sound_in_an_mp4_with_the_brands_of_a_video_stays_sound() -> None:
    for announced in ("audio/mp4", "audio/x-m4a"):
        assert judged(mp4(b"isom"), announced) == StoredType("audio/mp4", ".m4a")


def test_the_reason_names_what_came_and_what_was_announced() -> None:
    assert judged(HTML, "video/mp4") == "is an HTML or XML document, not video/mp4"
    assert judged(HTML) == "is an HTML or XML document"
    assert judged(b"\0\1\2", "image/jpeg") == "is a file of an unknown format, not image/jpeg"
