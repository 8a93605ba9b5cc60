"""Which images of items may be shown: a manifest can name any object that the service can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.domain.media_types import is_picture, media_type_of
from pipeline.domain.model import BatchRow
from pipeline.domain.s3_names import is_below
from pipeline.triggers.rule import Rule


@dataclass(frozen=True)
class InputImages:
    """Which images of items are shown from S3. `prefixes`: those that manifests may name. `rules`: of the triggers."""

    prefixes: tuple[str, ...]
    rules: Callable[[], Iterable[Rule]]

    def allow(self, uri: str, batch: BatchRow) -> bool:
        """Return whether `uri` has the name of an image or a video, and is where images of `batch` may be."""
        watched = (rule.watch for rule in self.rules() if batch.trigger == f"trigger:{rule.name}")
        return is_picture(media_type_of(uri)) and is_below(uri, (batch.output, *self.prefixes, *watched))
