"""The home page: batches, the account, workers, schedules and triggers. Adds all pages of the dashboard."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, Flask, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.batches.service import Service
from pipeline.domain.formatting import ago, dollars, duration, pluralize, when
from pipeline.domain.states import ended_count
from pipeline.errors import NoSuchBatch
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import BatchPage, QueryStore
from pipeline.schedules.scheduler import Scheduler
from pipeline.triggers.input_images import InputImages
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.triggers.store import TriggerStore
from pipeline.web.dashboard import batch_page, new_batch, presigned_redirects, previews
from pipeline.web.dashboard.automation_views import AutomationViews
from pipeline.web.dashboard.charts import HEIGHT, WIDTH, progress_parts, spend_bars
from pipeline.web.security.headers import image_origins

MAX_BATCHES = 25
SPEND_DAYS = 30


def add_to(app: Flask, service: Service) -> None:
    """Add every page of the dashboard to `app`."""
    for filter_ in (ago, dollars, duration, ended_count, pluralize, progress_parts, when):
        app.add_template_filter(filter_)
    origins = tuple(
        origin if origin == "https:" else f"{origin}/" for origin in image_origins(service.settings.fetch_hosts)
    )
    app.add_template_test(lambda image: image.startswith(origins), "displayable")
    settings = service.settings
    rule_loader = RuleLoader(settings.triggers)
    input_images = InputImages(settings.prefixes, rule_loader.rules)
    app.add_template_test(input_images.allow, "presignable_of")
    preview_links = previews.PreviewLinks(service.ledger.previews)
    preview_links.add_to(app)
    automation_views = AutomationViews(
        Scheduler.of(service),
        rule_loader,
        TriggerStore.connect(settings.redis_url),
        service.ledger.batches,
    )
    for part in (
        _home(service.ledger, QueueMonitor(service.settings.redis_url), automation_views),
        new_batch.blueprint(service.settings, service.storage, service.models, service.submission),
        automation_views.blueprint(),
        presigned_redirects.blueprint(service.ledger, service.storage, input_images),
        previews.blueprint(service.ledger, service.storage),
        batch_page.blueprint(service.ledger, settings.max_batch_usd, preview_links),
    ):
        app.register_blueprint(part)


def _home(ledger: Ledger, queue_monitor: QueueMonitor, automation_views: AutomationViews) -> Blueprint:
    routes = Blueprint("dashboard", __name__)

    @routes.get("/")
    def home() -> str:
        days = ledger.account.spend(SPEND_DAYS)
        return render_template(
            "home.html",
            page=_batches(ledger.queries),
            account=ledger.account.get(),
            days=days,
            bars=spend_bars(days),
            width=WIDTH,
            height=HEIGHT,
            schedules=automation_views.schedules(),
            triggers=automation_views.triggers(),
            workers=queue_monitor.workers(),
            queue=queue_monitor.figures(),
            dead_letters=queue_monitor.dead_letters(),
            now=datetime.now(UTC),
        )

    @routes.post("/dead-letters/<job_id>/<action>")
    def dead_letter(job_id: str, action: str) -> AnyResponse:
        if action == "again":
            queue_monitor.requeue(job_id)
        elif action == "forget":
            queue_monitor.forget(job_id)
        return redirect("/#dead-letters", 303)

    return routes


def _batches(queries: QueryStore) -> BatchPage:
    """Return the page of batches that the query selects; the newest batches if its cursor no longer exists."""
    try:
        return queries.batch_page(MAX_BATCHES, after=request.args.get("after"))
    except NoSuchBatch:
        return queries.batch_page(MAX_BATCHES)
