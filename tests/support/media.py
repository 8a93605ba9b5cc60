"""Videos and images of the tests, small and large."""

from __future__ import annotations

import io
import os
from typing import Any

import av
from PIL import Image


def a_video(
    width: int = 640, height: int = 360, *, frames: int = 3, container: str = "mp4", codec: str = "libx264"
) -> bytes:
    """Return a video of one colour."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_image(Image.new("RGB", (width, height), "orange"))  # type: ignore[no-untyped-call]  # PyAV
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
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
