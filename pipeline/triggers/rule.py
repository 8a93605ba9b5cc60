"""A trigger rule: which objects start a batch, and where their events come from. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from pipeline.domain.image_types import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES
from pipeline.domain.model import Limits
from pipeline.domain.s3_names import is_object_uri
from pipeline.domain.system_files import is_system_file
from pipeline.manifest.validators import ROWS_SUFFIXES
from pipeline.triggers.object_version import DEFAULTS, MANIFEST_SUFFIXES, STATUS_SUFFIX, ObjectVersion, version_of


class Source(StrEnum):
    """Where object events come from."""

    LISTING = "listing"
    SQS = "sqs"
    PUSH = "push"


class Start(StrEnum):
    """What an object is."""

    MANIFEST = "manifest"
    IMAGES = "images"


class Dedupe(StrEnum):
    """What makes two events of one key the same: then they start one batch."""

    VERSION = "version"
    """the version of the object; its ETag in a bucket without versions"""
    CONTENT = "content"
    """its ETag, also in a bucket with versions"""


@dataclass(frozen=True)
class Rule:
    """One trigger of `triggers.yaml`. Durations are in seconds."""

    name: str
    source: Source
    watch: str
    """`s3://bucket/prefix/`: objects below it start batches."""
    start: Start
    every_s: float = 10
    queue_url: str = ""
    topic_arn: str = ""
    prompts: tuple[str, ...] = ()
    output: str | None = None
    """`s3://bucket/prefix/`, None for the service's own."""
    gather_s: float = 0
    manifest_settings: str = "{}"
    """Further keys of the manifest of its images, as JSON: model, image_field, params, limits, notify, reuse."""
    limits: Limits | None = None
    """Ceilings: the manifest of a batch can lower them, never raise them."""
    batches_per_day: int = 1000
    """How many batches it starts on a UTC day. Further objects wait for the next day."""
    dedupe: Dedupe = Dedupe.VERSION

    @property
    def bucket(self) -> str:
        """The watched bucket."""
        return self.watch.removeprefix("s3://").partition("/")[0]

    def version_of(self, version_id: str, etag: str) -> str:
        """Return what identifies a version of an object for this rule. '' if the event has none."""
        return version_of("" if self.dedupe is Dedupe.CONTENT else version_id, etag)

    def covers(self, uri: str) -> bool:
        """Return whether the object at `uri` is below the watched prefix, by a key without `..`."""
        return uri.startswith(self.watch) and is_object_uri(uri)

    def watches_output(self, output: str | None) -> bool:
        """Return whether the watched prefix is `output`, PIPELINE_OUTPUT: then no object in it starts a batch."""
        return self.watch == output

    def reason_to_ignore(self, version: ObjectVersion, outputs: Collection[str]) -> str | None:
        """Return why an object below the watched prefix starts nothing; None if it starts a batch.

        `outputs`: the prefixes that the service writes to.
        """
        name = version.key.rpartition("/")[2]
        if not name:
            return "it is a folder"
        if is_system_file(version.uri.removeprefix(self.watch)):
            return "a system or a program made it"
        if name.endswith(STATUS_SUFFIX):
            return "it is the status file of another object"
        if any(version.uri.startswith(output) for output in outputs if output.startswith(self.watch)):
            return "it is in the output folder"
        if name == DEFAULTS:
            return "it is read with the rows beside it"
        if self.start is Start.IMAGES:
            # A photo that the vendor does not take is rejected with a status file; its owner would wait in vain.
            accepted: tuple[str, ...] = (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES)
        else:
            accepted = (*MANIFEST_SUFFIXES, *ROWS_SUFFIXES)
        return None if version.suffix in accepted else f"its name must end in {' '.join(accepted)}"
