"""Pictures come in, videos go out. Both are kept in memory, the oldest given up when there are too many bytes."""

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

MAX_KEPT_BYTES = 256 * 2**20
MAX_IMAGE_BYTES = 20 * 2**20
FETCH_TIMEOUT_S = 10
_RENDERERS = 2
_CAPTION_CHARS = 72

K = TypeVar("K", bound=Hashable)


class BytesCache(Generic[K]):
    """Bytes by key, `limit` bytes in all; what was not used for longest goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[K, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: K) -> bytes | None:
        """What is kept under `key`."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key]

    def put(self, key: K, value: bytes) -> None:
        """Keep `value`, unless it alone is too large."""
        self._size += len(value) - len(self._held.pop(key, b""))
        self._held[key] = value
        while self._size > self._limit:
            self._size -= len(self._held.popitem(last=False)[1])


class MediaCache:
    """Fetches pictures and renders each pair of picture and caption once."""

    def __init__(self, session: aiohttp.ClientSession, folder: ImageFolder | None = None) -> None:
        self._session = session
        self._folder = folder
        self._pictures: BytesCache[str] = BytesCache(MAX_KEPT_BYTES)
        self._videos: BytesCache[tuple[str | None, str]] = BytesCache(MAX_KEPT_BYTES)
        self._in_work: dict[tuple[str | None, str], asyncio.Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(_RENDERERS, thread_name_prefix="render")
        self._closing = threading.Event()

    def keep(self, picture: bytes) -> str:
        """Store a picture (any bytes); its SHA-256 names it from now on."""
        sha256 = hashlib.sha256(picture).hexdigest()
        self._pictures.put(sha256, picture)
        if self._folder:
            self._folder.put(sha256, picture)
        return sha256

    def picture(self, sha256: str) -> bytes | None:
        """A stored picture, unless it was given up to make room."""
        return self._pictures.get(sha256) or (self._folder.get(sha256) if self._folder else None)

    async def obtain(self, picture: SourceImage) -> SourceImage:
        """The picture with its bytes stored. Raises BadPicture when its URL gives none."""
        if picture.url is None:
            return picture
        return SourceImage(sha256=self.keep(await self._fetch(picture.url)), url=picture.url)

    async def video(self, sha256: str | None, prompt: str) -> bytes:
        """The video of a stored picture (None: a plain background), captioned with the first words of `prompt`.

        Raises BadPicture when the picture cannot be decoded or is not stored any more.
        """
        key = (sha256, prompt[:_CAPTION_CHARS])
        made = self._videos.get(key)
        if made is not None:
            return made
        if key not in self._in_work:
            future = asyncio.get_running_loop().run_in_executor(self._pool, self._render, *self._material(key))
            self._in_work[key] = future
            future.add_done_callback(lambda _: self._in_work.pop(key, None))
        made = await asyncio.shield(self._in_work[key])
        self._videos.put(key, made)
        return made

    def close(self) -> None:
        """Give up what is being rendered."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _material(self, key: tuple[str | None, str]) -> tuple[bytes | None, str]:
        sha256, caption = key
        picture = self.picture(sha256) if sha256 else None
        if sha256 and picture is None:
            raise BadImage("the input picture is not stored any more")
        return picture, caption

    def _render(self, picture: bytes | None, caption: str) -> bytes:
        return video.render(picture, caption, self._closing.is_set)

    async def _fetch(self, url: str) -> bytes:
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)) as answer:
                if answer.status != 200:
                    raise BadImage(f"the input URL answered {answer.status}")
                body = bytearray()
                async for chunk in answer.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > MAX_IMAGE_BYTES:
                        raise BadImage("the input file is larger than 20 MB")
                return bytes(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BadImage(f"the input URL could not be fetched: {type(error).__name__}") from error
