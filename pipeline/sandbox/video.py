"""A picture and a line of text become a six-second video: a slow pan and zoom with the text as its caption. Pure."""

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
"""The index comes first, in room kept for it: players can start at once, and no file need be written twice."""
_CODEC = {"preset": "superfast", "crf": "27", "threads": "1"}


@dataclass(frozen=True)
class _Layer:
    """One plane of the video: the picture, larger than the frame, and what lies over it at the bottom."""

    picture: Image.Image
    size: tuple[int, int]
    caption: Image.Image
    mask: Image.Image


class Stopped(Exception):
    """The video is not wanted any more."""


def render(picture: bytes | None, caption: str, stopped: Callable[[], bool] = lambda: False) -> bytes:
    """An MP4 (H.264, 24 frames a second, 6 s, about 0.2 megapixels in the picture's shape), ready to stream.

    `picture` is an encoded image, None for a plain background. `stopped` is asked before every frame. About half a
    second of one core; the interpreter lock is free for most of it.

    Raises BadPicture when `picture` is no image, Stopped when `stopped` said so.
    """
    image = _open(picture)
    width, height = _frame_size(image)
    layers = _layers(ImageOps.fit(image, _even(width * _ZOOM, height * _ZOOM)), (width, height), caption)
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


def _open(picture: bytes | None) -> Image.Image:
    if picture is None:
        return Image.linear_gradient("L").rotate(180).convert("RGB")
    try:
        with Image.open(io.BytesIO(picture)) as image:
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
    # Planes are scaled one by one: half the work of scaling RGB frames and converting each of them.
    luma, blue, red = image.convert("YCbCr").split()
    half = (size[0] // 2, size[1] // 2)
    text, mask = _caption(caption, size)
    small_mask = mask.resize((mask.width // 2, mask.height // 2))
    grey = Image.new("L", small_mask.size, _GREY)
    chroma = [plane.resize((plane.width // 2, plane.height // 2)).point(_studio_chroma) for plane in (blue, red)]
    return (
        _Layer(luma.point(_studio_luma), size, text, mask),
        _Layer(chroma[0], half, grey, small_mask),
        _Layer(chroma[1], half, grey, small_mask),
    )


def _studio_luma(value: int) -> int:
    return _BLACK + value * (_WHITE - _BLACK) // 255


def _studio_chroma(value: int) -> int:
    return _GREY + (value - _GREY) * 224 // 255


def _caption(text: str, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """The caption's brightness and its opacity, as wide as the frame."""
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
    """What the camera sees of a layer: it nears the upper middle and drifts to the right. `progress`: 0 to 1."""
    share = 1 - (1 - 1 / _ZOOM) * progress
    width, height = layer.picture.width * share, layer.picture.height * share
    x, y = (layer.picture.width - width) * 0.7, (layer.picture.height - height) * 0.3
    view = layer.picture.resize(layer.size, Image.Resampling.BILINEAR, box=(x, y, x + width, y + height))
    view.paste(layer.caption, (0, layer.size[1] - layer.caption.height), layer.mask)
    return view
