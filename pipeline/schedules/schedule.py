"""A schedule: what starts, when, and what happens to occurrences that are late or overlap. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from zoneinfo import ZoneInfo

from pipeline.domain.durations import parse_duration
from pipeline.schedules.cron_expression import Cron, zone


class Overlap(StrEnum):
    """What happens to an occurrence while a batch of the schedule has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    """one occurrence waits for the end of the batch"""
    ALLOW = "allow"


class CatchUp(StrEnum):
    """Which occurrences are started late if the service was down."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True)
class Schedule:
    """One entry of schedules.yaml."""

    name: str
    cron: str
    manifest: str
    """A file, relative to schedules.yaml, or `s3://bucket/key`."""
    timezone: str = "UTC"
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LAST
    catch_up_window: str = "24h"
    """The maximum age of an occurrence that is started late, as it is written."""
    jitter_s: float = 0
    enabled: bool = True

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return zone(self.timezone)

    @cached_property
    def occurrences(self) -> Cron:
        """The occurrences of the cron line in the time zone."""
        return Cron(self.cron, self.zone)

    @cached_property
    def catch_up_window_s(self) -> float:
        """The catch-up window in seconds."""
        return parse_duration(self.catch_up_window) or 0.0
