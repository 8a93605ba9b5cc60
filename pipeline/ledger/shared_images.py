"""Images that several items of a batch share: each is uploaded to the vendor once."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.ledger.keys import shared_images_key
from pipeline.ledger.scripts import ScriptRunner


class SharedImageStore:
    """Stores the URLs at the vendor of shared images. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def urls(self, batch_id: str) -> dict[str, str]:
        """Return {image: URL at the vendor, '' before the upload} of the shared images of a batch."""
        urls: dict[str, str] = self._redis.hgetall(shared_images_key(batch_id))
        return urls

    def add(self, batch_id: str, images: Iterable[str]) -> None:
        """Add images without a URL. Images that exist keep theirs."""
        with self._redis.pipeline(transaction=False) as pipe:
            for image in images:
                pipe.hsetnx(shared_images_key(batch_id), image, "")
            pipe.execute()

    def url(self, batch_id: str, image: str) -> str | None:
        """Return the URL at the vendor of an image; None before the upload, or if the image is not shared."""
        return self._redis.hget(shared_images_key(batch_id), image) or None

    def record_url(self, batch_id: str, image: str, url: str) -> None:
        """Store the URL at the vendor of an uploaded image."""
        self._redis.hset(shared_images_key(batch_id), image, url)
