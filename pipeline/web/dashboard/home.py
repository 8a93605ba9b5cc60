"""The dashboard: batches, the account, who works; and where a batch is begun."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask, current_app, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.batches.service import Service
from pipeline.domain.formatting import ago, dollars, duration, pluralize, when
from pipeline.errors import InvalidManifest, NoSuchBatch
from pipeline.ledger.queries import BatchPage
from pipeline.web.dashboard import batch_page, presigned_redirects
from pipeline.web.dashboard.automation_views import AutomationViews
from pipeline.web.dashboard.charts import HEIGHT, WIDTH, ended, progress_parts, spend_bars
from pipeline.web.error_responses import MAX_ERRORS
from pipeline.web.security.headers import image_origins

MAX_BATCHES = 25
SPEND_DAYS = 30
DEFAULT_MODEL = "minimax/image-to-video-hailuo-01-subject"


def add_to(app: Flask, service: Service) -> None:
    """Add every page of the dashboard to `app`."""
    for filter_ in (ago, dollars, duration, pluralize, when):
        app.add_template_filter(filter_)
    origins = tuple(
        origin if origin == "https:" else f"{origin}/" for origin in image_origins(service.settings.fetch_hosts)
    )
    app.add_template_test(lambda image: image.startswith(origins), "shown")
    automation_views = AutomationViews(service)
    for part in (
        _pages(service, automation_views),
        automation_views.blueprint(),
        batch_page.blueprint(service),
        presigned_redirects.blueprint(service),
    ):
        app.register_blueprint(part)


def _pages(service: Service, automation_views: AutomationViews) -> Blueprint:
    routes = Blueprint("dashboard", __name__)
    queue_monitor = QueueMonitor(service.settings.redis_url)

    @routes.get("/")
    def home() -> str:
        days = service.ledger.account.spend(SPEND_DAYS)
        return render_template(
            "home.html",
            page=_batches(service),
            progress_parts=progress_parts,
            ended=ended,
            account=service.ledger.account.get(),
            days=days,
            bars=spend_bars(days),
            width=WIDTH,
            height=HEIGHT,
            schedules=automation_views.schedules(),
            triggers=automation_views.triggers(),
            workers=queue_monitor.workers(),
            queue=queue_monitor.figures(),
            letters=queue_monitor.dead_letters(),
            now=datetime.now(UTC),
        )

    @routes.post("/dead-letters/<job_id>/<verb>")
    def dead_letter(job_id: str, verb: str) -> AnyResponse:
        if verb == "again":
            queue_monitor.requeue(job_id)
        elif verb == "forget":
            queue_monitor.forget(job_id)
        return redirect("/#dead-letters", 303)

    @routes.get("/new")
    def new() -> str:
        stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return render_template("new.html", model=DEFAULT_MODEL, stamp=stamp, output=service.settings.output)

    @routes.post("/new/judge")
    def judge() -> Any:
        """What the API says of a manifest. Its mistakes are an answer like any other: it is being written."""
        try:
            return current_app.view_functions["api.estimate_batch"]()
        except InvalidManifest as error:
            return jsonify(
                detail=f"The manifest has {pluralize(len(error.problems), 'mistake')}.", errors=_places(error)
            )

    return routes


def _places(error: InvalidManifest) -> list[dict[str, object]]:
    problems = error.problems[:MAX_ERRORS]
    return [{"line": problem.line, "column": problem.column, "message": problem.message} for problem in problems]


def _batches(service: Service) -> BatchPage:
    """A page of batches; the newest where the one that was asked from is gone."""
    try:
        return service.ledger.queries.batch_page(MAX_BATCHES, after=request.args.get("after"))
    except NoSuchBatch:
        return service.ledger.queries.batch_page(MAX_BATCHES)
