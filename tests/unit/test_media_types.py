"""What outputs are stored as."""

import pytest

from pipeline.domain.media_types import is_picture, media_type_of, stored_type

BINARY = ("application/octet-stream", ".bin")


@pytest.mark.parametrize(
    ("media_type", "stored"),
    [
        ("video/mp4", ("video/mp4", ".mp4")),
        ("VIDEO/MP4; codecs=avc1", ("video/mp4", ".mp4")),
        ("application/mp4", ("video/mp4", ".mp4")),
        ("image/jpg", ("image/jpeg", ".jpg")),
        ("audio/x-wav", ("audio/wav", ".wav")),
        ("text/plain; charset=utf-7", ("text/plain; charset=utf-8", ".txt")),
        ("application/json", ("application/json", ".json")),
        ("application/pdf", ("application/octet-stream", ".pdf")),
        ("video/x-matroska", ("application/octet-stream", ".mkv")),
    ],
)
def test_a_known_media_type_has_our_file_ending(media_type: str, stored: tuple[str, str]) -> None:
    kind = stored_type(media_type)
    assert (kind.media_type, kind.suffix) == stored


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html", "TEXT/HTML", "text/html; charset=utf-8", " text/html", "image/svg+xml", "application/xhtml+xml",
        "text/xml", "application/xml", "application/rss+xml", "text/xsl", "application/javascript", "text/javascript",
        "text/css", "multipart/x-mixed-replace", "message/rfc822", "application/x-shockwave-flash",
        "text/cache-manifest", "video/unknown", "raw", "*/*", "video/mp4,text/html", "video/mp4 text/html",
    ],
)  # fmt: skip
def test_any_other_media_type_is_a_file_to_save(media_type: str) -> None:
    kind = stored_type(media_type)
    assert (kind.media_type, kind.suffix) == BINARY


@pytest.mark.parametrize("name", ["", "0", "0.html", "0.svg", "0.htm", "0.xhtml", "0.mp4.html", "mp4", ".", "0."])
def test_a_name_alone_makes_no_page(name: str) -> None:
    assert media_type_of(name) == ""


def test_pictures_are_images_and_videos_of_the_list() -> None:
    assert is_picture("image/png")
    assert is_picture("video/mp4; codecs=avc1")
    assert not any(map(is_picture, ["image/svg+xml", "text/html", "audio/mpeg", "", "video/", "image/"]))
