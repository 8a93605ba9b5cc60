"""What starts batches by itself: schedules and triggers, as the dashboard shows and steers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, redirect
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.service import Service
from pipeline.domain.formatting import duration
from pipeline.schedules.scheduler import Scheduler
from pipeline.schedules.summary import ScheduleSummary, summary
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.triggers.store import TriggerStore

MAX_SHOWN = 50
"""So many schedules and so many triggers are shown."""


@dataclass(frozen=True)
class TriggerView:
    """One trigger, the batch that it started last, and when it looks next, in words."""

    rule: Rule
    last: str | None
    next: str


class AutomationViews:
    """Reads both files and what the ledger knows of them. Every method may raise Unreachable."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._scheduler = Scheduler.of(service)
        self._rules = RuleLoader(service.settings.triggers)
        self._memory = TriggerStore.connect(service.settings.redis_url)

    def schedules(self) -> ScheduleSummary:
        """The schedules that are in force, the first MOST."""
        states = self._scheduler.store
        return summary(self._scheduler.file, states, self._service.ledger, states.now(), limit=MAX_SHOWN)

    def triggers(self) -> Sequence[TriggerView]:
        """The triggers that are in force, the first MOST."""
        rules = self._rules.rules()[:MAX_SHOWN]
        last = self._memory.last_batches([rule.name for rule in rules])
        return [TriggerView(rule, batch, _next(rule)) for rule, batch in zip(rules, last, strict=True)]

    def blueprint(self) -> Blueprint:
        """`POST /schedules/{name}/run|pause|resume`."""
        routes = Blueprint("starters", __name__)

        @routes.post("/schedules/<name>/run")
        def run(name: str) -> AnyResponse:
            accepted = self._scheduler.run(name, self._scheduler.store.now())
            return redirect(f"/batches/{accepted.batch_id}", 303)

        @routes.post("/schedules/<name>/<verb>")
        def steer(name: str, verb: str) -> AnyResponse:
            if verb == "pause":
                self._scheduler.pause(name, self._scheduler.store.now())
            elif verb == "resume":
                self._scheduler.resume(name)
            else:
                raise NotFound
            return redirect("/#schedules", 303)

        return routes


def _next(rule: Rule) -> str:
    heard = f"looks every {duration(rule.every_s)}" if rule.source is Source.LISTING else "at the next event"
    return f"{heard}, gathers for {duration(rule.gather_s)}" if rule.gather_s else heard
