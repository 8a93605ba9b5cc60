"""Images that several items of a batch share: each is uploaded to the vendor once."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.ledger.keys import shared_images_key
from pipeline.ledger.scripts import ScriptRunner

_ETAG = "etag "
"""Begins the field of the ETag that an image had at its upload."""


class SharedImageStore:
    """Stores the URLs at the vendor of shared images. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def urls(self, batch_id: str) -> dict[str, str]:
        """Return {image: URL at the vendor, '' before the upload} of the shared images of a batch."""
        fields: dict[str, str] = self._redis.hgetall(shared_images_key(batch_id))
        return {image: url for image, url in fields.items() if not image.startswith(_ETAG)}

    def add(self, batch_id: str, images: Iterable[str]) -> None:
        """Add images without a URL. Images that exist keep theirs."""
        with self._redis.pipeline(transaction=False) as pipe:
            for image in images:
                pipe.hsetnx(shared_images_key(batch_id), image, "")
            pipe.execute()

    def url(self, batch_id: str, image: str) -> str | None:
        """Return the URL at the vendor of an image; None before the upload, or if the image is not shared."""
        return self._redis.hget(shared_images_key(batch_id), image) or None

    def record_url(self, batch_id: str, image: str, url: str, etag: str | None) -> None:
        """Store the URL at the vendor of an uploaded image. `etag`: of the object on S3, None if it is not needed."""
        fields = {image: url, **({_ETAG + image: etag} if etag else {})}
        self._redis.hset(shared_images_key(batch_id), mapping=fields)

    def etags(self, batch_id: str, images: Iterable[str]) -> dict[str, str]:
        """Return {image: ETag at the upload} of those images that were uploaded for the whole batch."""
        images = list(images)
        if not images:
            return {}
        etags = self._redis.hmget(shared_images_key(batch_id), [_ETAG + image for image in images])
        return {image: etag for image, etag in zip(images, etags, strict=True) if etag}
