"""Shift the clock of a process by SKEW_S seconds. Python imports this at startup if its folder is on PYTHONPATH."""

from __future__ import annotations

import datetime
import os
import time
from typing import Any

_SKEW_S = float(os.environ.get("SKEW_S", "0"))
_time, _time_ns = time.time, time.time_ns
_Real = datetime.datetime


class _AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _Real)


class _Skewed(datetime.datetime, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _Real.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return _Real.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)


def _skewed_time() -> float:
    return _time() + _SKEW_S


def _skewed_time_ns() -> int:
    return _time_ns() + int(_SKEW_S * 1e9)


time.time = _skewed_time
time.time_ns = _skewed_time_ns
datetime.datetime = _Skewed  # type: ignore[misc]
