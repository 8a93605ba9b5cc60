"""A rule: which objects start what, and how we hear of them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from pipeline.triggers.object_version import (
    DEFAULTS,
    IMAGE_SUFFIXES,
    MANIFEST_SUFFIXES,
    ROWS_SUFFIXES,
    STATUS_SUFFIX,
    ObjectVersion,
)


class Source(StrEnum):
    """How we hear of objects."""

    LISTING = "listing"
    SQS = "sqs"
    PUSH = "push"


class Start(StrEnum):
    """What an object is."""

    MANIFEST = "manifest"
    IMAGES = "images"


@dataclass(frozen=True)
class Rule:
    """One trigger of `triggers.yaml`. Durations are in seconds."""

    name: str
    source: Source
    watch: str
    """`s3://bucket/prefix/`: what lies under it is looked at."""
    start: Start
    every_s: float = 10
    queue_url: str = ""
    topic_arn: str = ""
    prompts: tuple[str, ...] = ()
    output: str | None = None
    """`s3://bucket/prefix/`, None for the service's own."""
    gather_s: float = 0
    head: str = "{}"
    """What the manifest of its images says besides, as JSON: model, image_field, params, limits, notify."""

    @property
    def bucket(self) -> str:
        """The bucket that is watched."""
        return self.watch.removeprefix("s3://").partition("/")[0]

    def covers(self, uri: str) -> bool:
        """Whether the object at `uri` lies where this rule watches."""
        return uri.startswith(self.watch)

    def why_not(self, drop: ObjectVersion, outputs: Collection[str]) -> str | None:
        """Why an object that is covered is none of this rule's business; None when it is.

        `outputs` are places where the service writes.
        """
        name = drop.key.rpartition("/")[2]
        if not name:
            return "it is a folder"
        if name.endswith(STATUS_SUFFIX):
            return "it tells what became of another object"
        if any(drop.uri.startswith(output) for output in outputs if output.startswith(self.watch)):
            return "it is where outputs are written"
        if name == DEFAULTS:
            return "it is read with the rows beside it"
        wanted = IMAGE_SUFFIXES if self.start is Start.IMAGES else (*MANIFEST_SUFFIXES, *ROWS_SUFFIXES)
        return None if drop.suffix in wanted else f"it is none of {' '.join(wanted)}"
