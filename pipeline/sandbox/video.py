"""Render an image and a line of text as a six-second video: a slow pan and zoom with a caption. Pure."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline.sandbox.errors import BadImage

SECONDS = 6
FRAMES_PER_SECOND = 24
_AREA = 448 * 448
_ZOOM = 1.18
_BLACK, _WHITE, _GREY = 16, 235, 128
_BAND_OPACITY = 130
_FILE = {"moov_size": "16384"}
"""Reserve room for the index at the start: players can start at once, and the file is written once."""
_CODEC = {"preset": "superfast", "crf": "27", "threads": "1"}


@dataclass(frozen=True)
class _Layer:
    """One plane of the video: the image, larger than the frame, and the caption at the bottom."""

    image: Image.Image
    size: tuple[int, int]
    caption: Image.Image
    mask: Image.Image


class Stopped(Exception):
    """The caller stopped the rendering."""


def render(image: bytes | None, caption: str, stopped: Callable[[], bool] = lambda: False) -> bytes:
    """Return an MP4 (H.264, 24 frames a second, 6 s, about 0.2 megapixels with the image's proportions).

    image: an encoded image, None for a plain background. stopped: called before every frame. Takes about half a second
    of one core, most of it without the interpreter lock.
    Raises BadImage if `image` cannot be decoded, Stopped if `stopped` returns True.
    """
    decoded = _open(image)
    width, height = _frame_size(decoded)
    layers = _layers(ImageOps.fit(decoded, _even(width * _ZOOM, height * _ZOOM)), (width, height), caption)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options=_FILE) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_CODEC)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in _frames(layers, width, height):
            if stopped():
                raise Stopped
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def _open(encoded: bytes | None) -> Image.Image:
    if encoded is None:
        return Image.linear_gradient("L").rotate(180).convert("RGB")
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.draft("RGB", (1024, 1024))
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage("cannot identify image") from error


def _frame_size(image: Image.Image) -> tuple[int, int]:
    shape = min(max(image.width / image.height, 9 / 16), 16 / 9)
    width = math.sqrt(_AREA * shape)
    return round(width / 16) * 16, round(width / shape / 16) * 16


def _even(width: float, height: float) -> tuple[int, int]:
    return round(width / 2) * 2, round(height / 2) * 2


def _layers(image: Image.Image, size: tuple[int, int], caption: str) -> tuple[_Layer, _Layer, _Layer]:
    # To scale planes takes half the time of scaling RGB frames and converting each.
    luma, blue, red = image.convert("YCbCr").split()
    half = (size[0] // 2, size[1] // 2)
    text, mask = _caption(caption, size)
    small_mask = mask.resize((mask.width // 2, mask.height // 2))
    grey = Image.new("L", small_mask.size, _GREY)
    chroma = [plane.resize((plane.width // 2, plane.height // 2)).point(_video_range_chroma) for plane in (blue, red)]
    return (
        _Layer(luma.point(_video_range_luma), size, text, mask),
        _Layer(chroma[0], half, grey, small_mask),
        _Layer(chroma[1], half, grey, small_mask),
    )


def _video_range_luma(value: int) -> int:
    return _BLACK + value * (_WHITE - _BLACK) // 255


def _video_range_chroma(value: int) -> int:
    return _GREY + (value - _GREY) * 224 // 255


def _caption(text: str, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Return the caption's brightness and its opacity, as wide as the frame."""
    points = max(12, size[0] // 22)
    lines = textwrap.wrap(text, width=38, max_lines=2, placeholder=" …")
    if not lines:
        return Image.new("L", (2, 2)), Image.new("L", (2, 2))
    band = _even(size[0], points * 1.4 * len(lines) + points)
    luma, mask = Image.new("L", band, _BLACK), Image.new("L", band, _BAND_OPACITY)
    font = ImageFont.load_default(size=points)
    for canvas, ink in ((luma, _WHITE), (mask, 255)):
        ImageDraw.Draw(canvas).multiline_text(
            (band[0] / 2, band[1] / 2), "\n".join(lines), fill=ink, font=font, anchor="mm", align="center"
        )
    return luma, mask


def _frames(layers: tuple[_Layer, ...], width: int, height: int) -> Iterator[av.VideoFrame]:
    count = SECONDS * FRAMES_PER_SECOND
    for number in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        frame.pts = number
        for plane, layer in zip(frame.planes, layers, strict=True):
            canvas = Image.new("L", (plane.line_size, plane.height))
            canvas.paste(_view(layer, number / (count - 1)))
            plane.update(canvas.tobytes())
        yield frame


def _view(layer: _Layer, progress: float) -> Image.Image:
    """Return the visible part of a layer: it zooms to the upper middle and pans right. `progress`: 0 to 1."""
    share = 1 - (1 - 1 / _ZOOM) * progress
    width, height = layer.image.width * share, layer.image.height * share
    x, y = (layer.image.width - width) * 0.7, (layer.image.height - height) * 0.3
    view = layer.image.resize(layer.size, Image.Resampling.BILINEAR, box=(x, y, x + width, y + height))
    view.paste(layer.caption, (0, layer.size[1] - layer.caption.height), layer.mask)
    return view
