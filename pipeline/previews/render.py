"""Render one preview: `python -m pipeline.previews.render MEDIA_TYPE` reads stdin, a file, and writes a WebP to stdout.

The file may be made to harm the decoder. It is opened as the format that is expected and as no other: some formats of
videos name further files and URLs to read. Exit code 3: the file has no preview, the last line of stderr is the reason.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
import warnings
from contextlib import suppress
from typing import BinaryIO

import av
from PIL import Image, ImageOps

from pipeline.domain.preview_names import MAX_BYTES, MAX_SIDE
from pipeline.previews.renderer import NO_PREVIEW

MAX_PIXELS = 50_000_000
"""Of an image, and of a frame of a video. 8K video has 33 million."""
MAX_SECONDS = 15
"""Of computing."""
LIFETIME_S = 180
"""A loaded machine is slow, above all with the lowest priority."""
MAX_MEMORY_BYTES = 2 * 1024**3
"""Address space: libraries need about 0.5 GB of it, an image of MAX_PIXELS up to 0.6 GB."""
MAX_PACKETS = 300
"""How many packets of a video are read until its first frame is complete."""
MAX_OUTPUT_BYTES = 64 * 1024
"""Of each file that the process writes, also of stdout and stderr."""
_NICENESS = 19
_IMAGES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIF")
_VIDEOS = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm"}
"""Media type → demuxer."""
_QUALITIES = (80, 65, 50, 35, 20)


class NoPreview(Exception):
    """The file has no preview. The message is the reason."""


def render(file: BinaryIO, media_type: str) -> bytes:
    """Return a preview as WebP: at most MAX_SIDE pixels and MAX_BYTES. Raises NoPreview."""
    try:
        picture = _first_frame(file, media_type) if media_type.startswith("video/") else _image(file)
        return _encode(picture)
    except NoPreview:
        raise
    except Exception as error:
        # A decoder may raise anything.
        raise NoPreview(f"It cannot be decoded: {type(error).__name__}.") from None


def _image(file: BinaryIO) -> Image.Image:
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_formats()) as image:
                # A JPEG is decoded at a fraction of its size.
                image.draft("RGB", (2 * MAX_SIDE, 2 * MAX_SIDE))
                return _fit(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise NoPreview(f"It has more than {MAX_PIXELS:,} pixels.") from None


def _formats() -> list[str]:
    Image.init()
    return [name for name in _IMAGES if name in Image.OPEN]


def _first_frame(file: BinaryIO, media_type: str) -> Image.Image:
    if media_type not in _VIDEOS:
        raise NoPreview(f"{media_type} has no preview.")
    with av.open(file, "r", format=_VIDEOS[media_type], options={"protocol_whitelist": ""}) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            raise NoPreview("It has no video stream.")
        stream.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        for number, packet in enumerate(container.demux(stream)):
            if number > MAX_PACKETS:
                break
            # The size of the next frame: a video can change it.
            if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
                raise NoPreview(f"It has more than {MAX_PIXELS:,} pixels.")
            for frame in packet.decode():
                # Before any other conversion, so that a large frame is not copied at its full size.
                scale = min(1.0, MAX_SIDE / max(frame.width, frame.height))
                size = [max(1, round(side * scale)) for side in (frame.width, frame.height)]
                poster: Image.Image = frame.to_image(width=size[0], height=size[1])  # type: ignore[no-untyped-call]  # PyAV
                return poster
    raise NoPreview(f"It has no frame among its first {MAX_PACKETS} packets.")


def _fit(image: Image.Image) -> Image.Image:
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    image = image.convert("RGBA" if has_alpha else "RGB")
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return image


def _encode(picture: Image.Image) -> bytes:
    """Return the picture in the best quality that fits into MAX_BYTES; noise may need fewer pixels."""
    while max(picture.size) > 1:
        for quality in _QUALITIES:
            data = io.BytesIO()
            picture.save(data, "WEBP", quality=quality)
            if data.tell() < MAX_BYTES:
                return data.getvalue()
        picture = picture.resize((max(1, picture.width * 2 // 3), max(1, picture.height * 2 // 3)))
    raise NoPreview("It cannot be made small.")


def _limit_process() -> None:
    """Limit what a file can make this process use: it ends by itself, also when its parent has ended."""
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    # At the first of the two the process ends by SIGXCPU, which no other process sends.
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES))
    signal.alarm(LIFETIME_S)


def main(media_type: str) -> None:
    """Write the preview of the file that is stdin to stdout."""
    _limit_process()
    try:
        preview = render(sys.stdin.buffer, media_type)
    except NoPreview as error:
        print(error, file=sys.stderr)
        sys.exit(NO_PREVIEW)
    sys.stdout.buffer.write(preview)


if __name__ == "__main__":
    main(sys.argv[1])
