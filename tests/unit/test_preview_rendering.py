"""Previews are small, and a file that was made to harm the decoder harms nothing else."""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import zlib
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from PIL import Image
from support.media import a_video, an_image, noise

from pipeline.domain.model import ItemRow, Output
from pipeline.domain.preview_names import MAX_BYTES, MAX_SIDE, image_preview, is_preview, output_preview, previews_of
from pipeline.errors import PreviewFailed
from pipeline.previews import render, renderer

VIDEO = "video/mp4"


def a_bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few kilobytes that claims, and has, very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(width // 8 + 1) * min(height, 2_000), 1)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def rendered(data: bytes, media_type: str) -> Image.Image:
    return checked(render.render(io.BytesIO(data), media_type))


def checked(preview: bytes) -> Image.Image:
    assert len(preview) < MAX_BYTES
    image = Image.open(io.BytesIO(preview))
    assert image.format == "WEBP"
    assert max(image.size) <= MAX_SIDE
    return image


def run_decoder(data: bytes = b"") -> bytes:
    with TemporaryFile() as file:
        file.write(data)
        file.flush()
        return renderer.render_file(file, VIDEO)


def test_a_process_of_its_own_makes_a_preview() -> None:
    assert checked(run_decoder(a_video())).size == (480, 270)
    with pytest.raises(PreviewFailed, match="cannot be decoded") as failed:
        run_decoder(b"no video")
    assert not failed.value.retryable


def test_a_video_has_a_poster_with_its_proportions() -> None:
    assert rendered(a_video(), VIDEO).size == (480, 270)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
def test_an_image_has_a_thumbnail(kind: str) -> None:
    assert rendered(an_image((1200, 800), kind), "image/png").size == (480, 320)


def test_a_small_image_is_not_enlarged_and_keeps_its_transparency() -> None:
    image = rendered(an_image((40, 20), mode="RGBA"), "image/png")
    assert image.size == (40, 20)
    assert image.mode == "RGBA"


def test_noise_is_made_smaller_until_it_fits() -> None:
    rendered(noise(600), "image/png")


def test_an_image_is_turned_by_its_exif_orientation() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (600, 300)).save(file, "JPEG", exif=exif)
    assert rendered(file.getvalue(), "image/jpeg").size == (240, 480)


@pytest.mark.parametrize(
    ("data", "media_type", "reason"),
    [
        (a_bomb(60_000, 60_000), "image/png", "pixels"),
        (a_bomb(10_000, 6_000), "image/png", "pixels"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", "decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/png", "decoded"),
        (a_video()[:300], VIDEO, "decoded"),
        (os.urandom(5000), VIDEO, "decoded"),
        (b"", VIDEO, "decoded"),
        (a_video(), "video/x-other", "has no preview"),
    ],
)
def test_a_hostile_or_broken_file_has_no_preview(data: bytes, media_type: str, reason: str) -> None:
    with pytest.raises(render.NoPreview, match=reason):
        rendered(data, media_type)


def test_a_playlist_that_claims_to_be_a_video_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(a_video())
    for text in (
        f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/secret.mp4\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n",
    ):
        for media_type in (VIDEO, "video/webm", "video/quicktime"):
            with pytest.raises(render.NoPreview):
                rendered(text.encode(), media_type)


def test_the_frames_of_a_video_have_a_limit_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "MAX_PIXELS", 100 * 100)
    with pytest.raises(render.NoPreview, match="pixels"):
        render.render(io.BytesIO(a_video()), VIDEO)


def test_the_decoder_gets_no_secrets_and_is_stopped_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that was taken over prints its data, and does not end."""
    script = "import os, sys\nprint(sorted(os.environ), file=sys.stderr)\nsys.exit(3)\n"
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o700)
    monkeypatch.setenv("PIPELINE_SECRET", "the-secret")
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(PreviewFailed) as failed:
        run_decoder()
    assert "LANG" in str(failed.value)
    assert "PIPELINE_SECRET" not in str(failed.value)
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(renderer, "TIMEOUT_S", 0.5)
    started = time.monotonic()
    with pytest.raises(PreviewFailed, match="not decoded in"):
        run_decoder()
    assert time.monotonic() - started < 30


def test_a_worker_that_stops_kills_the_decoder_and_the_preview_is_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with TemporaryFile() as empty, pytest.raises(PreviewFailed) as failed:
        renderer.render_file(empty, VIDEO, lambda: True)
    assert failed.value.retryable


@pytest.mark.parametrize(("number", "is_lost"), [("TERM", False), ("KILL", False), ("SEGV", True), ("XCPU", True)])
def test_a_decoder_that_was_killed_is_started_again_but_not_after_its_own_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, is_lost: bool
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nkill -{number} $$\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(PreviewFailed) as failed:
        run_decoder()
    assert failed.value.retryable is not is_lost


@pytest.mark.parametrize("limit", ["cpu", "memory", "output"])
def test_a_process_that_decodes_has_limits(tmp_path: Path, limit: str) -> None:
    work = {"cpu": "while True: pass", "memory": "bytes(3 * 1024**3)", "output": "print('x' * 10**7, flush=True)"}
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = {sys.path!r}\n"
        f"from pipeline.previews import render\nrender.MAX_SECONDS = 1\nrender._limit_process()\n{work[limit]}\n"
    )
    program.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PreviewFailed, match="ended with code"):
        patch.setattr(sys, "executable", str(program))
        run_decoder()


def test_items_with_the_same_image_share_its_preview() -> None:
    video = Output("s3://b/x/items/i/0.mp4", VIDEO, 1, "ab" * 32)
    row = ItemRow(
        "i", "succeeded", "s3://b/x/inputs/1.png", "p", outputs=(video, Output("s3://b/t", "text/plain", 1, ""))
    )
    other = ItemRow("j", "pending", "s3://b/x/inputs/1.png", "p")
    assert previews_of(row) == [image_preview(row.image or ""), output_preview(video)]
    assert previews_of(other) == previews_of(row)[:1]
    assert all(map(is_preview, previews_of(row)))
    assert not is_preview("../" + previews_of(row)[0])
