"""Images that several items of a batch share: each is uploaded to the vendor once."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.ledger.keys import batch_key
from pipeline.ledger.scripts import ScriptRunner


class SharedImageStore:
    """URLs at the vendor of shared images. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def urls(self, batch_id: str) -> dict[str, str]:
        """{image: URL at the vendor, '' before it is there} of images that several items share."""
        found: dict[str, str] = self._redis.hgetall(f"{batch_key(batch_id)}:uploads")
        return found

    def add(self, batch_id: str, images: Iterable[str]) -> None:
        """Images that several items share are to be uploaded to the vendor: '' until they are."""
        with self._redis.pipeline(transaction=False) as pipe:
            for image in images:
                pipe.hsetnx(f"{batch_key(batch_id)}:uploads", image, "")
            pipe.execute()

    def url(self, batch_id: str, image: str) -> str | None:
        """The URL at the vendor of an image that several items share; None when it has none."""
        return self._redis.hget(f"{batch_key(batch_id)}:uploads", image) or None

    def record_url(self, batch_id: str, image: str, url: str) -> None:
        """Remember where the vendor has `image`."""
        self._redis.hset(f"{batch_key(batch_id)}:uploads", image, url)
