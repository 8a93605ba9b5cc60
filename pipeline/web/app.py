"""The Flask app: its parts, its clients, its gate."""

from __future__ import annotations

import structlog
from flask import Blueprint, Flask

from pipeline.batches.service import Service
from pipeline.errors import Unreachable
from pipeline.observability import logging
from pipeline.settings import Settings, load
from pipeline.web import error_responses, health, metrics, request_log
from pipeline.web.api import batch_events, batches, docs_page, image_upload
from pipeline.web.api.endpoints import Endpoints
from pipeline.web.callbacks import receiver, s3_events
from pipeline.web.dashboard import home
from pipeline.web.security import authentication, headers, login

log = structlog.get_logger()

MAX_BODY_BYTES = 8 * 1024 * 1024


def create_app(settings: Settings | None = None) -> Flask:
    """The app, wired to the servers of `settings` (default: as the environment has them).

    Raises IncompatibleSchema.
    """
    logging.configure()
    settings = settings or load()
    service = Service.connect(settings)
    _check_schema(service)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    request_log.log_requests(app)
    headers.harden(app, settings)
    error_responses.answer_errors(app)
    tokens = authentication.protect(app, settings)
    answer_callbacks = receiver.Receiver(app.wsgi_app, service, settings.secret.get_secret_value())
    app.wsgi_app = answer_callbacks  # type: ignore[method-assign]  # how Flask wants it wrapped
    app.register_blueprint(s3_events.blueprint(service, tokens))
    app.register_blueprint(health.blueprint(service))
    app.register_blueprint(metrics.blueprint(service))
    app.register_blueprint(login.blueprint(tokens, service.ledger))
    endpoints = _operations(service)
    app.register_blueprint(endpoints.routes)
    app.register_blueprint(docs_page.blueprint(endpoints))
    home.add_to(app, service)
    return app


def _check_schema(service: Service) -> None:
    try:
        service.ledger.check_schema()
    except Unreachable as error:
        # /readyz repeats the check.
        log.warning("schema_not_checked", error=str(error))


def _operations(service: Service) -> Endpoints:
    endpoints = Endpoints(Blueprint("api", __name__))
    batches.add_to(endpoints, service)
    batch_events.add_to(endpoints, service)
    image_upload.add_to(endpoints, service)
    return endpoints
