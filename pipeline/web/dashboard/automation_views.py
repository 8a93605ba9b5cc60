"""Schedules and triggers in the dashboard: what starts batches without a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, redirect
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from pipeline.domain.formatting import duration
from pipeline.ledger.batches import BatchStore
from pipeline.schedules.scheduler import Scheduler
from pipeline.schedules.summary import ScheduleSummary, summary
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.triggers.store import TriggerStore

MAX_SHOWN = 50
"""Maximum number of schedules, and of triggers, on the page."""


@dataclass(frozen=True)
class TriggerView:
    """One trigger, the batch that it started last, and in words when it starts the next."""

    rule: Rule
    last: str | None
    next: str


@dataclass(frozen=True)
class TriggerSummary:
    """The triggers in force. `file_error`: why they are not those of the file."""

    triggers: Sequence[TriggerView]
    file_error: str | None


class AutomationViews:
    """Reads the schedules and triggers in force and their state. Every method may raise Unreachable."""

    def __init__(
        self, scheduler: Scheduler, rules: RuleLoader, trigger_store: TriggerStore, batches: BatchStore
    ) -> None:
        self._scheduler = scheduler
        self._rules = rules
        self._trigger_store = trigger_store
        self._batches = batches

    def schedules(self) -> ScheduleSummary:
        """Return the first MAX_SHOWN schedules in force."""
        states = self._scheduler.store
        return summary(self._scheduler.file, states, self._batches, states.now(), limit=MAX_SHOWN)

    def triggers(self) -> TriggerSummary:
        """Return the first MAX_SHOWN triggers in force."""
        rules = self._rules.rules()[:MAX_SHOWN]
        last = self._trigger_store.last_batches([rule.name for rule in rules])
        views = [TriggerView(rule, batch, _next(rule)) for rule, batch in zip(rules, last, strict=True)]
        return TriggerSummary(views, self._rules.error())

    def blueprint(self) -> Blueprint:
        """Return the routes `POST /schedules/{name}/run|pause|resume`."""
        routes = Blueprint("automation", __name__)

        @routes.post("/schedules/<name>/run")
        def run(name: str) -> AnyResponse:
            accepted = self._scheduler.run(name, self._scheduler.store.now())
            return redirect(f"/batches/{accepted.batch_id}", 303)

        @routes.post("/schedules/<name>/<action>")
        def control(name: str, action: str) -> AnyResponse:
            if action == "pause":
                self._scheduler.pause(name, self._scheduler.store.now())
            elif action == "resume":
                self._scheduler.resume(name)
            else:
                raise NotFound
            return redirect("/#schedules", 303)

        return routes


def _next(rule: Rule) -> str:
    source = f"lists every {duration(rule.every_s)}" if rule.source is Source.LISTING else "at the next event"
    return f"{source}, gathers images for {duration(rule.gather_s)}" if rule.gather_s else source
