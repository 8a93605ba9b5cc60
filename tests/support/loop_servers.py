"""What the tests of loops with one bad member work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from jobs.context import Context
from pipeline.batches.service import Service
from pipeline.ledger.ledger import Ledger
from support.inbox import Inbox
from support.schedule_folder import ScheduleFolder


@dataclass
class Servers:
    """What a loop works on."""

    inbox: Inbox
    schedules: ScheduleFolder
    patch: pytest.MonkeyPatch

    @property
    def service(self) -> Service:
        return self.inbox.service

    @property
    def ledger(self) -> Ledger:
        return self.service.ledger

    @property
    def redis(self) -> Any:
        return self.ledger.redis

    def wrong_type(self, key: str) -> None:
        """Put a value of another type at a key."""
        self.redis.delete(key)
        self.redis.set(key, "x")

    def is_named(self, *members: str) -> bool:
        """Return whether these members were set aside, and are named."""
        return {one.member for one in self.ledger.set_aside.newest(100)} >= set(members)

    def context(self, *modules: Any) -> Context:
        """Let jobs run with these servers."""
        ctx = Context(
            self.service,
            cast(Any, None),
            cast(Any, None),
            cast(Any, None),
            lambda run: None,
            self.ledger.batches.config,
        )
        for module in modules:
            self.patch.setattr(module, "context", lambda: ctx)
        return ctx

    def failing_for(self, owner: Any, name: str, bad: str, error: Exception | None = None) -> None:
        """Let a method fail if its arguments mention `bad`."""
        work = getattr(owner, name)

        def work_or_fail(*args: Any, **options: Any) -> Any:
            if bad in repr((args, options)):
                raise error or RuntimeError(f"{bad} is bad")
            return work(*args, **options)

        self.patch.setattr(owner, name, work_or_fail)
