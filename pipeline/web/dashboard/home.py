"""The home page: batches, the account, workers, schedules and triggers. Adds all pages of the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.batches.retry_price import price_words, purchase_question
from pipeline.batches.service import Service
from pipeline.domain.formatting import ago, dollars, duration, pluralize, time_left, when
from pipeline.domain.model import BatchRow
from pipeline.domain.states import ended_count
from pipeline.domain.wording import batch_words, item_words
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import BatchOrder, QueryStore
from pipeline.schedules.scheduler import Scheduler
from pipeline.triggers.input_images import InputImages
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.triggers.store import TriggerStore
from pipeline.web.dashboard import (
    archived_page,
    batch_page,
    gallery,
    new_batch,
    presigned_redirects,
    previews,
    share_links,
)
from pipeline.web.dashboard.automation_views import AutomationViews
from pipeline.web.dashboard.charts import HEIGHT, WIDTH, progress_parts, spend_bars
from pipeline.web.dashboard.page_links import PageLinks, query_number
from pipeline.web.security.headers import image_origins

MAX_BATCHES = 25
SPEND_DAYS = 30
_FILTERS: tuple[Callable[..., Any], ...] = (
    *(ago, batch_words, dollars, duration, ended_count, item_words, pluralize, price_words, progress_parts),
    *(purchase_question, time_left, when),
)


@dataclass(frozen=True)
class BatchList:
    """One page of batches, in an order."""

    batches: list[BatchRow]
    order: BatchOrder
    pages: PageLinks

    def url(self, index: int, order: BatchOrder | None = None) -> str:
        """Return the address of page `index`, counted from 0, in the same order or another one."""
        order = order or self.order
        query = {"sort": "" if order is BatchOrder.NEWEST else order, "page": index + 1 if index else ""}
        text = urlencode({name: value for name, value in query.items() if value})
        return f"/?{text}" if text else "/"


def add_to(app: Flask, service: Service) -> None:
    """Add every page of the dashboard to `app`."""
    for filter_ in _FILTERS:
        app.add_template_filter(filter_)
    app.jinja_env.globals["sandbox_reason"] = service.settings.sandbox_reason
    app.jinja_env.globals["page_size"] = batch_page.PAGE_SIZE
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
    links = share_links.ShareLinks(settings, service.ledger.share_links, service.ledger.batches)
    app.jinja_env.globals.update(share_links=links, share_lifetimes=share_links.LIFETIMES)
    for part in (
        _home(service.ledger, QueueMonitor(service.settings.redis_url), automation_views),
        new_batch.blueprint(service),
        automation_views.blueprint(),
        presigned_redirects.blueprint(service.ledger, service.items, service.storage, input_images),
        previews.blueprint(service.ledger, service.items, service.storage),
        batch_page.blueprint(service.ledger, service.items, settings.max_batch_usd, preview_links),
        gallery.blueprint(service.ledger, links, preview_links),
        share_links.blueprint(links),
        archived_page.blueprint(service.recovery),
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
            orders=list(BatchOrder),
            account=ledger.account.get(),
            days=days,
            bars=spend_bars(days),
            width=WIDTH,
            height=HEIGHT,
            schedules=automation_views.schedules(),
            triggers=automation_views.triggers(),
            workers=queue_monitor.workers(),
            queue=queue_monitor.figures(),
            failed_jobs=queue_monitor.failed_jobs(),
            now=datetime.now(UTC),
        )

    @routes.post("/failed-jobs/<job_id>/<action>")
    def failed_job(job_id: str, action: str) -> AnyResponse:
        if action == "again":
            queue_monitor.requeue(job_id)
        elif action == "forget":
            queue_monitor.forget(job_id)
        return redirect("/#failed-jobs", 303)

    return routes


def _batches(queries: QueryStore) -> BatchList:
    """Return the page of batches that the query selects. Invalid values are ignored; the last page is the limit."""
    index, sort = max(0, query_number(request.args.get("page", "")) - 1), request.args.get("sort", "")
    order = BatchOrder(sort) if sort in set(BatchOrder) else BatchOrder.NEWEST
    rows, total = queries.sorted_batches(index * MAX_BATCHES, MAX_BATCHES, order)
    pages = PageLinks.at(index, total, MAX_BATCHES)
    if pages.number != index + 1:
        rows, total = queries.sorted_batches((pages.number - 1) * MAX_BATCHES, MAX_BATCHES, order)
    return BatchList(rows, order, pages)
