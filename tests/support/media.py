"""Videos and images of the tests, small and large."""

from __future__ import annotations

import io
import os

import av
from PIL import Image


def a_video(width: int = 640, height: int = 360, *, frames: int = 3) -> bytes:
    """Return an MP4 of one colour."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_image(Image.new("RGB", (width, height), "orange"))  # type: ignore[no-untyped-call]  # PyAV
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def an_image(size: tuple[int, int], kind: str = "PNG", mode: str = "RGB") -> bytes:
    """Return an image of one colour; with RGBA it is half transparent."""
    file = io.BytesIO()
    Image.new(mode, size, "#00808080").save(file, kind)
    return file.getvalue()


def noise(side: int) -> bytes:
    """Return a PNG that cannot be compressed: 3 bytes for each pixel."""
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(file, "PNG", compress_level=1)
    return file.getvalue()
