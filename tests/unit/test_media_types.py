"""What outputs are stored as."""

import pytest

from pipeline.domain.media_types import is_picture, stored_type

BINARY = ("application/octet-stream", ".bin")


@pytest.mark.parametrize(
    ("media_type", "name", "stored"),
    [
        ("video/mp4", "0.mp4", ("video/mp4", ".mp4")),
        ("video/mp4", "0.html", ("video/mp4", ".mp4")),
        ("VIDEO/MP4; codecs=avc1", "0", ("video/mp4", ".mp4")),
        ("image/jpg", "0.jpg", ("image/jpeg", ".jpg")),
        ("audio/x-wav", "0.wav", ("audio/wav", ".wav")),
        ("text/plain", "0.html", ("text/plain; charset=utf-8", ".txt")),
        ("text/plain; charset=utf-7", "0.txt", ("text/plain; charset=utf-8", ".txt")),
        ("application/json", "0.js", ("application/json", ".json")),
        ("", "0.mp4", ("video/mp4", ".mp4")),
        ("application/octet-stream", "0.PNG", ("image/png", ".png")),
        ("binary/octet-stream", "0.jpeg", ("image/jpeg", ".jpg")),
    ],
)
def test_a_known_media_type_has_our_file_ending(media_type: str, name: str, stored: tuple[str, str]) -> None:
    kind = stored_type(media_type, name)
    assert (kind.media_type, kind.suffix) == stored


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html", "TEXT/HTML", "text/html; charset=utf-8", " text/html", "image/svg+xml", "application/xhtml+xml",
        "text/xml", "application/xml", "application/rss+xml", "text/xsl", "application/javascript", "text/javascript",
        "text/css", "application/pdf", "multipart/x-mixed-replace", "message/rfc822", "application/x-shockwave-flash",
        "text/cache-manifest", "video/unknown", "raw", "*/*", "video/mp4,text/html", "video/mp4 text/html",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["0.html", "0.mp4", "0"])
def test_any_other_media_type_is_a_file_to_save(media_type: str, name: str) -> None:
    kind = stored_type(media_type, name)
    assert (kind.media_type, kind.suffix) == BINARY


@pytest.mark.parametrize("name", ["", "0", "0.html", "0.svg", "0.htm", "0.xhtml", "0.mp4.html", "mp4", ".", "0."])
def test_a_name_alone_makes_no_page(name: str) -> None:
    kind = stored_type("", name)
    assert (kind.media_type, kind.suffix) == BINARY


def test_pictures_are_images_and_videos_of_the_list() -> None:
    assert is_picture("image/png")
    assert is_picture("video/mp4; codecs=avc1")
    assert not any(map(is_picture, ["image/svg+xml", "text/html", "audio/mpeg", "", "video/", "image/"]))
