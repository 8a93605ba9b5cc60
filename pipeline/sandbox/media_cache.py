"""Input images and rendered videos, cached in memory with a limit in bytes."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import aiohttp

from pipeline.sandbox import video
from pipeline.sandbox.errors import BadImage
from pipeline.sandbox.persistence import ImageFolder
from pipeline.sandbox.tasks import SourceImage

MAX_CACHE_BYTES = 256 * 2**20
MAX_IMAGE_BYTES = 20 * 2**20
DOWNLOAD_TIMEOUT_S = 10
_RENDERERS = 2
_CAPTION_CHARS = 72

K = TypeVar("K", bound=Hashable)


class BytesCache(Generic[K]):
    """Bytes by key, at most `limit` bytes; the least recently used entry is removed first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: K) -> bytes | None:
        """Return the bytes under `key`, or None."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: K, value: bytes) -> None:
        """Store `value`, unless it alone exceeds the limit."""
        self._size += len(value) - len(self._entries.pop(key, b""))
        self._entries[key] = value
        while self._size > self._limit:
            self._size -= len(self._entries.popitem(last=False)[1])


class MediaCache:
    """Downloads images and renders each pair of image and caption once."""

    def __init__(self, session: aiohttp.ClientSession, folder: ImageFolder | None = None) -> None:
        self._session = session
        self._folder = folder
        self._images: BytesCache[str] = BytesCache(MAX_CACHE_BYTES)
        self._videos: BytesCache[tuple[str | None, str]] = BytesCache(MAX_CACHE_BYTES)
        self._rendering: dict[tuple[str | None, str], asyncio.Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(_RENDERERS, thread_name_prefix="render")
        self._closing = threading.Event()

    def store(self, image: bytes) -> str:
        """Store an image (any bytes). Return its SHA-256."""
        sha256 = hashlib.sha256(image).hexdigest()
        self._images.put(sha256, image)
        if self._folder:
            self._folder.put(sha256, image)
        return sha256

    def image(self, sha256: str) -> bytes | None:
        """Return a stored image; None if it was removed."""
        return self._images.get(sha256) or (self._folder.get(sha256) if self._folder else None)

    async def download(self, image: SourceImage) -> SourceImage:
        """Return the image with its bytes stored. Raises BadImage if its URL has none."""
        if image.url is None:
            return image
        return SourceImage(sha256=self.store(await self._download(image.url)), url=image.url)

    async def video(self, sha256: str | None, prompt: str) -> bytes:
        """Return the video of a stored image (None: a plain background) with the start of `prompt` as its caption.

        Raises BadImage if the image cannot be decoded or was removed.
        """
        key = (sha256, prompt[:_CAPTION_CHARS])
        rendered = self._videos.get(key)
        if rendered is not None:
            return rendered
        if key not in self._rendering:
            future = asyncio.get_running_loop().run_in_executor(self._pool, self._render, *self._render_input(key))
            self._rendering[key] = future
            future.add_done_callback(lambda _: self._rendering.pop(key, None))
        rendered = await asyncio.shield(self._rendering[key])
        self._videos.put(key, rendered)
        return rendered

    def close(self) -> None:
        """Stop the renderers."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _render_input(self, key: tuple[str | None, str]) -> tuple[bytes | None, str]:
        sha256, caption = key
        image = self.image(sha256) if sha256 else None
        if sha256 and image is None:
            raise BadImage("the input image is not stored any more")
        return image, caption

    def _render(self, image: bytes | None, caption: str) -> bytes:
        return video.render(image, caption, self._closing.is_set)

    async def _download(self, url: str) -> bytes:
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=DOWNLOAD_TIMEOUT_S)) as response:
                if response.status != 200:
                    raise BadImage(f"the input URL returned status {response.status}")
                body = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > MAX_IMAGE_BYTES:
                        raise BadImage("the input file is larger than 20 MB")
                return bytes(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BadImage(f"the input URL could not be downloaded: {type(error).__name__}") from error
